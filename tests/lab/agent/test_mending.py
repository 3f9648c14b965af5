"""Whatever others change under running pods is put right, and told once; the rest is let be."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.agent.node_facts import read_node_facts
from terway.datapath.fights import PATIENCE
from terway.datapath.verify import difference
from terway.linux.kernel import open_kernel
from terway.linux.nftables import OwnedTable
from terway.model.address import Family
from terway.model.network import (
    NODE,
    LinkAddress,
    LinkSettings,
    Neighbour,
    NetObject,
    Put,
    Remove,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import TrafficObject
from tests.support.attachments import attachment
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.iproute import ip_here
from tests.support.kernel_node import (
    ENI,
    WORLD_V4,
    WORLD_V6,
    kernel_node,
    links_are_gone,
    node_state,
    sh,
)
from tests.support.kill_walk import eventually

pytestmark = pytest.mark.root

CHAIN = """{
	chain output {
		type filter hook output priority 0; policy accept;
	}
}"""
BOTH = (Family.V4, Family.V6)
_ANSWER_S = 60.0


@pytest.fixture
def machine():
    with kernel_node() as machine:
        yield machine


class Attached:
    """One pod on a node, without a terwayd around."""

    def __init__(self, network, kernel, one):
        self.network, self.kernel, self.one = network, kernel, one

    async def mend(self):
        """Look at all once, and return what was told."""
        with capture_logs() as logs:
            await self.network.sweep(lambda: (self.one,), lambda: ())
            await self.network.mend(self.one)
        return [line for line in logs if line["event"] in ("mender.mended", "mender.lost")]

    async def differences(self):
        return await self.network.differences(self.one, pod_mac=None)

    def desired(self):
        """Return every object that should be there, each with its namespace."""
        state = self.network._desired(self.one)
        node = (*self.network._desired_host(), *state.node)
        return [(NODE, one) for one in node] + [(state.birth.netns, one) for one in state.pod]


@pytest.fixture
async def attached(machine):
    pod = machine.pod()
    async with open_kernel() as kernel:
        facts = await read_node_facts(kernel, BOTH, mtu_bytes=1500)
        network = KernelNetwork(kernel, facts, ENILinks(kernel, facts, lambda: (ENI,)))
        await network.prepare()
        one = replace(attachment(1, netns=pod), lease=attachment(1).lease)
        one = replace(one, lease=replace(one.lease, eni_mac=ENI.mac))
        await network.attach(one, mtu_bytes=None)
        yield Attached(network, kernel, one)


def name_of(one):
    return difference(one, None).object


def damaged(netns, one: NetObject):
    """Return what takes an object away, or makes it another one; None where nothing can."""
    match one:
        case Sysctl():
            return Put(netns=netns, object=replace(one, value="0" if one.value != "0" else "1"))
        case LinkSettings(name="lo"):
            return Put(netns=netns, object=replace(one, is_up=False))
        case LinkSettings():
            return Put(netns=netns, object=replace(one, mtu_bytes=1400, is_up=False))
        case LinkAddress() | Route() | Neighbour() | RoutingRule() | TrafficObject():
            return Remove(netns=netns, object=one)


async def test_every_object_that_is_taken_away_comes_back_and_is_told_once(attached):
    """Bug class 27: others rewrite our rules; 26: rp_filter; 30: the default route."""
    assert await attached.mend() == []
    kinds = set()

    for netns, one in attached.desired():
        if isinstance(one, LinkSettings) and one.mtu_bytes is None and one.mac is None:
            continue  # whether it is up is in the test below, with all that goes when it is not
        await attached.kernel.apply([damaged(netns, one)])

        told = await attached.mend()

        assert await attached.differences() == (), one
        # With some objects others go: forwarding of a link with that of all, routes with addresses.
        objects = [(line["where"], line["object"]) for line in told]
        assert name_of(one) in {name for _, name in objects}, told
        assert len(objects) == len(set(objects)), told
        assert await attached.mend() == [], one
        kinds.add(type(one))
    assert {Sysctl, LinkAddress, Route, Neighbour, RoutingRule} <= kinds


async def test_a_link_that_is_set_down_comes_up_with_all_that_went_with_it(attached):
    for netns, one in attached.desired():
        if not isinstance(one, LinkSettings):
            continue
        await attached.kernel.apply([Put(netns=netns, object=replace(one, is_up=False))])

        told = await attached.mend()

        assert await attached.differences() == (), one
        assert f"link {one.name}" in {line["object"] for line in told}
        assert await attached.mend() == []


async def test_more_than_was_planned_is_removed_only_where_it_is_ours(attached):
    address = attached.one.lease.addresses.v4
    sh(f"ip rule add to {address} priority 100 lookup 5; ip route add 10.9.0.0/16 dev eth1 table 5")
    sh("ip link add cali12345678901 type veth peer name foreign0")  # Calico's, alive

    assert await attached.mend() == []

    assert "lookup 5" in sh("ip rule")
    assert "cali12345678901" in sh("ip link")


async def test_looking_a_thousand_times_leaks_nothing(attached):
    """Bug class 55: memory leak."""
    for _ in range(30):
        await attached.mend()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    for _ in range(300):
        await attached.mend()
    gc.collect()

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000


@pytest.fixture
async def world(machine):
    sh("ip link del eth1")  # the cloud plugs its own
    async with emulated_cloud(machine) as world:
        yield world


class Running:
    """A terwayd with one pod whose packets reach the world and come back."""

    def __init__(self, machine, daemon, pod, addresses):
        self.machine, self.daemon, self.pod, self.addresses = machine, daemon, pod, addresses
        (host,) = (one for one in ip_here("link") if one["ifname"].startswith("cali"))
        (eni,) = ip_here("link", "show", "eth1")
        self.words = {
            "CALI": host["ifname"],
            "TABLE": str(1000 + eni["ifindex"]),
            "V4": addresses[0],
            "V6": addresses[1],
            "INSIDE": f"nsenter --net={pod}",
        }

    def spelt(self, text):
        for word, value in self.words.items():
            text = text.replace(word, value)
        return text

    def run(self, command):
        return sh(self.spelt(command))

    def state(self):
        """Return all that users of the node and the pod see of it."""
        inside = f"nsenter --net={self.pod} "
        seen = [
            *node_state(),
            *(self.run(f"ip -o {what} show dev CALI") for what in ("link", "address")),
            *(sh(f"ip -o {what} show dev eth1") for what in ("link", "address")),
            *(
                sh(f"{inside}ip {what}")
                for what in ("-o link", "-o address", "route", "neigh show nud permanent")
            ),
            sh(f"{inside}ip -6 route"),
            self.run("sysctl net.ipv4.conf.eth1.rp_filter net.ipv6.conf.eth1.accept_ra"),
            self.run("tc qdisc show dev CALI; tc filter show dev CALI ingress | cut -d' ' -f1-7"),
        ]
        # Less what the kernel gives itself, and what it counts.
        lines = (
            line for text in seen for line in text.splitlines() if "/64 scope link" not in line
        )
        return sorted(line.partition("valid_lft")[0] for line in lines)

    def ping(self):
        self.machine.ping(self.pod, WORLD_V4)
        self.machine.ping(self.pod, WORLD_V6)


@pytest.fixture
async def running(world, machine, tmp_path):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path) as daemon:
        daemon.terwayd.reconciler.rest_s = 0.0
        ran = await daemon.node.run("ADD", CNI_NETNS=pod)
        addresses = [ip["address"].partition("/")[0] for ip in ran.json["ips"]]
        (port,) = (one for one in world.cloud.vpc_state().ports if one.ifname == "eth1")
        machine.know(*addresses, mac=port.mac, far="vpc-eth1")
        await daemon.terwayd.verbs.proof.read_back()  # what it mends is told as its own
        await daemon.terwayd.reconciler.reconcile()
        running = Running(machine, daemon, pod, addresses)
        running.ping()
        yield running


async def has_mended(logs, count):
    return sum(line["event"] == "mender.mended" for line in logs) >= count


async def is_now(running, state):
    return running.state() == state


@pytest.mark.parametrize(
    "damages",
    [
        pytest.param(
            {
                "ip rule del priority 2048": "rule 2048 from V4/32",
                "ip -6 rule del priority 512": "rule 512 to V6/128",
                "ip route flush table TABLE": "route 0.0.0.0/0 table TABLE",
                "ip route del V4": "route V4/32 table 254",
                "ip -6 route del V6": "route V6/128 table 254",
                "ip link set CALI down": "link CALI",
                "ip link set CALI address 02:00:00:00:00:99": "link CALI",
                "ip address flush dev CALI": "address 169.254.1.1/32 dev CALI",
                "ip address flush dev eth1": "address 192.168.0.10/32 dev eth1",
                "ip link set eth1 mtu 1400": "link eth1",
                "tc qdisc del dev CALI clsact": "guard dev CALI",
                "sysctl -qw net.ipv4.conf.eth1.rp_filter=2": "sysctl net/ipv4/conf/eth1/rp_filter",
                "sysctl -qw net.ipv6.conf.eth1.accept_ra=1": "sysctl net/ipv6/conf/eth1/accept_ra",
                "sysctl -qw net.ipv4.ip_forward=0": "sysctl net/ipv4/ip_forward",
            },
            id="on-the-node",
        ),
        pytest.param(
            {
                "INSIDE ip route del default": "route 0.0.0.0/0 table 254",
                "INSIDE ip -6 route del default": "route ::/0 table 254",
                "INSIDE ip neigh del 169.254.1.1 dev eth0": "neighbour 169.254.1.1 dev eth0",
                "INSIDE ip address del V4/32 dev eth0": "address V4/32 dev eth0",
                "INSIDE ip link set eth0 down": "link eth0",
            },
            id="in-a-pod",
        ),
    ],
)
async def test_what_is_changed_under_a_pod_is_back_within_seconds_and_told_once(running, damages):
    """Bug classes 26, 27, 28 and 30: sysctls, rules, MACs and default routes of others' making."""
    before = running.state()
    for command, what in damages.items():
        with capture_logs() as logs:
            await asyncio.to_thread(running.run, command)
            try:
                await eventually(lambda: is_now(running, before))
            except TimeoutError:
                raise AssertionError((command, set(running.state()) ^ set(before))) from None
            await eventually(lambda: has_mended(logs, 1))  # what is done is told a little later
            await asyncio.sleep(0.5)  # what is told twice is told now
        running.ping()
        told = [line["object"] for line in logs if line["event"] == "mender.mended"]
        assert told.count(running.spelt(what)) == 1, (command, told)


async def test_who_did_it_is_told_where_the_kernel_says_so(running):
    looked, reconciler = asyncio.Event(), running.daemon.terwayd.reconciler
    reconciler.took = lambda _: looked.set()
    reconciler.wake()
    await looked.wait()  # who looks already sees it before anybody says who did it

    with capture_logs() as logs:
        running.run("ip rule del priority 2048")
        await eventually(lambda: has_mended(logs, 1))

    (line,) = (line for line in logs if line["event"] == "mender.mended")
    assert line["by"].startswith(("ip (process", "a program that has ended (process"))


async def test_a_node_whose_rules_are_flushed_again_and_again_is_mended_now_and_then(running):
    """Bug class 27: a fight with another manager is damped, and named."""
    looks = 0

    def count(_):
        nonlocal looks
        looks += 1

    running.daemon.terwayd.reconciler.took = count
    with capture_logs() as logs:
        for number in range(1, PATIENCE + 1):
            await asyncio.to_thread(sh, "ip rule del priority 2048")
            await eventually(partial(has_mended, logs, number))
        await asyncio.to_thread(sh, "ip rule del priority 2048")
        await asyncio.sleep(1.0)  # what is not let be is mended now

    mended = [line for line in logs if line["event"] == "mender.mended"]
    fought = [line for line in logs if line["event"] == "mender.fought_over"]
    assert len(mended) == PATIENCE
    assert [line["object"] for line in fought] == [f"rule 2048 from {running.addresses[0]}/32"]
    assert looks < 15


async def test_a_table_of_the_firewall_that_was_deleted_is_made_again_and_told(attached):
    """Bug class 37: rules of the firewall that others take away."""
    network = attached.network
    table = OwnedTable("inet terway_test", CHAIN)
    network._tables = (table,)
    await network.prepare()
    assert not await network.settings_differ()

    sh("nft delete table inet terway_test")

    assert await network.settings_differ()
    told = await attached.mend()
    assert [line["object"] for line in told] == ["table inet terway_test"]
    assert "chain output" in sh("nft list table inet terway_test")
    assert await attached.mend() == []


@contextmanager
def pinging(pod):
    """Let a pod ping the world for the block; yield what says each answer."""
    ping = ["nsenter", f"--net={pod}", "ping", "-n", "-i", "0.1", WORLD_V4]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(ping, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        try:
            yield process.stdout
        finally:
            process.kill()


async def next_answer(said):
    async with asyncio.timeout(_ANSWER_S):
        while "bytes from" not in await asyncio.to_thread(said.readline):
            pass


async def test_a_ping_goes_on_after_the_veth_was_deleted_again_and_again(running):
    terwayd = running.daemon.terwayd
    (one,) = terwayd.pool.attachments()
    with pinging(running.pod) as said, capture_logs() as logs:
        await next_answer(said)
        deletions = ("ip link del CALI", "INSIDE ip link del eth0", "ip link del CALI")
        for number, deletion in enumerate(deletions, start=1):
            await asyncio.to_thread(running.run, deletion)
            # An answer that is there to be read may be older than the deletion.
            await eventually(partial(has_mended, logs, number))
            await next_answer(said)
            assert await terwayd.network.differences(one, pod_mac=None) == ()
        running.ping()

    told = [line["object"] for line in logs if line["event"] == "mender.mended"]
    assert told == [running.spelt("link CALI")] * 3


async def test_a_veth_that_is_deleted_before_the_next_look_at_the_node_is_made_again(running):
    terwayd = running.daemon.terwayd
    pod = running.machine.pod()
    await running.daemon.node.run("ADD", CNI_NETNS=pod, CNI_CONTAINERID="young")
    await terwayd.verbs.proof.read_back()
    one = next(one for one in terwayd.pool.attachments() if one.netns == pod)
    name = terwayd.network._desired(one).birth.host.name

    async def is_whole():
        return await terwayd.network.differences(one, pod_mac=None) == ()

    await asyncio.to_thread(sh, f"ip link del {name}")
    assert not await is_whole()
    await eventually(is_whole)


async def test_a_stranger_at_the_path_gets_no_veth_and_it_is_told_once(attached):
    """Bug class 17: the namespace that a path leads to is not for ever the same pod's."""
    assert await attached.mend() == []
    pod = attached.one.netns
    name = pod.rpartition("/")[2]
    sh(f"ip netns del {name}; ip netns add {name}")
    await links_are_gone("cali")  # its end, which takes the kernel a while

    told = [*await attached.mend(), *await attached.mend()]

    assert [line["why"] for line in told] == ["the namespace at its path is not the pod's any more"]
    assert [one["ifname"] for one in ip_here("link", netns=pod)] == ["lo"]
    assert "cali" not in sh("ip -o link")


async def test_a_veth_in_a_namespace_that_was_never_seen_is_told_with_the_remedy(attached):
    host = attached.network._desired(attached.one).birth.host.name
    sh(f"ip link del {host}")

    told = [*await attached.mend(), *await attached.mend()]

    assert [line["object"] for line in told] == [f"link {host}"]
    assert "Delete the pod" in told[0]["text"]
    assert "cali" not in sh("ip -o link")


async def test_a_veth_that_DEL_took_away_is_not_missed_before_the_journal_forgets_it(attached):
    """Bug class 18: a DEL that stopped half-way is done again later."""
    assert await attached.mend() == []
    await attached.network.detach(attached.one)
    await links_are_gone("cali")

    told = await attached.mend()

    assert "mender.lost" not in {line["event"] for line in told}
    assert "cali" not in sh("ip -o link")
