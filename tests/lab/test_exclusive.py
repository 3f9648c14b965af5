"""Pods with an ENI each, end to end: the device in the pod, the second leg, and all ways back."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from terway.kube.resource import NODES, PODS
from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.counters import PortCounters
from terway.lab.vpc.plan import fabric_name
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle, run_command
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle, pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from tests.support.iproute import ip_in

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

FAMILIES = [Family.V4, Family.V6]
both = pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
POOL = NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS)
SERVICE = {Family.V4: "172.21.0.10", Family.V6: "fd00:21::10"}
SLEEP = ("/bin/sleep", "infinity")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(POOL,),
        eni_conf={"ip_cooldown_period": "1s"},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "eni-1", "near": "eni-1", "far": "eni-2", "shared": "node-1"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


def node_address(lab: Lab, name: str, family: Family) -> IPAddress:
    instance = lab.instances[name]
    found = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert found is not None
    return found


def mac_of(lab: Lab, pod: PodHandle) -> str:
    enis = lab.cloud.world.state.enis.values()
    return next(eni.mac for eni in enis if pod.address(Family.V4) in eni.ipv4)


async def link_of(pod: PodHandle, name: str = "eth0") -> dict[str, object]:
    (found,) = await ip_in(pod, "-d", "link", "show", "dev", name)
    return dict(found)


async def devices(node: NodeHandle, *, only_down: bool = False) -> set[str]:
    """Return the MACs of the node's links."""
    found = await ip_in(node, "link")
    return {
        one["address"]
        for one in found
        if "address" in one and not (only_down and "UP" in one["flags"])
    }


async def host_links(node: NodeHandle) -> set[str]:
    """Return the node's ends of pods' second legs."""
    found = await ip_in(node, "link")
    return {one["ifname"] for one in found if one["ifname"].startswith("cali")}


def log_of(node: NodeHandle) -> str:
    """Return what terwayd has logged on the node."""
    return Path(node.spec.log_dir, "terwayd.log").read_text()


async def wait_back(node: NodeHandle, mac: str, *, only_down: bool = True) -> None:
    """Wait until a device is on the node; down: DEL, or what makes up for it, has run."""
    async with asyncio.timeout(PATIENCE_S):
        while mac not in await devices(node, only_down=only_down):
            await node.exec("true")


async def test_a_pod_has_the_device_of_an_eni_and_nobody_shares_it(lab, pods):
    link = await link_of(pods["a"])

    assert link["address"] == mac_of(lab, pods["a"])
    assert mac_of(lab, pods["a"]) != mac_of(lab, pods["near"])
    assert link["address"] not in await devices(lab.node("eni-1"))


async def test_a_pod_in_shared_mode_stays_as_it_is(lab, pods):
    assert (await link_of(pods["shared"]))["address"] != mac_of(lab, pods["shared"])


@both
@pytest.mark.parametrize("target", ["near", "far", "shared"])
async def test_pods_reach_each_other_by_the_vpc_in_both_directions(pods, target, family):
    for one, other in ((pods["a"], pods[target]), (pods[target], pods["a"])):
        seen = await one.tool("whoami", str(other.address(family)))

        assert seen["peer"] == str(one.address(family))


@both
async def test_large_segments_cross_between_nodes(pods, family):
    async with await pods["a"].connect(pods["far"], family=family) as flow:
        assert await flow.echo(b"x" * 300_000) == b"x" * 300_000


@both
async def test_the_node_reaches_its_pods_and_pods_their_node(lab, pods, family):
    own, other = (node_address(lab, name, family) for name in ("eni-1", "eni-2"))
    before = await lab.fabric.counters()

    await lab.node("eni-1").exec("ping", "-c1", "-w20", str(pods["a"].address(family)))
    await pods["a"].exec("ping", "-c1", "-w20", str(own))
    route = await pods["a"].exec("ip", "route", "get", str(own))

    assert "dev veth1" in route
    await pods["a"].exec("ping", "-c1", "-w20", str(other))
    await lab.node("eni-2").exec("ping", "-c1", "-w20", str(pods["a"].address(family)))
    assert before.keys() == (await lab.fabric.counters()).keys()


@both
@pytest.mark.parametrize("target", ["a", "far"])
async def test_the_node_probes_pods_over_tcp(lab, pods, family, target):
    """Bug class 33: answers that come by another link, which early demux gives to no socket.

    Bug class 50: what the kubelet asks of its pods arrives, from the node's own address.
    """
    node = lab.node("eni-1")
    demux = await node.exec("cat", "/proc/sys/net/ipv4/tcp_early_demux")
    address = pods[target].address(family)
    host = f"[{address}]" if family is Family.V6 else str(address)
    script = (
        f"import urllib.request as u; print(u.urlopen('http://{host}:8080/', timeout=60).read())"
    )

    answer = await node.exec("python3", "-c", script)

    assert demux.strip() == "1"
    assert str(node_address(lab, "eni-1", family)) in answer


@both
@pytest.mark.parametrize("backend", ["near", "far", "shared", "a"])
async def test_a_service_is_reached_by_the_node(lab, pods, family, backend):
    word = "ip" if family is Family.V4 else "ip6"
    target = pods[backend].address(family)
    host = f"[{target}]" if family is Family.V6 else str(target)
    table = f"inet test_proxy_{backend}_{word}"
    rule = f"{word} daddr {SERVICE[family]} tcp dport 80 dnat {word} to {host}:8080"
    chain = f"{{\ntype nat hook prerouting priority -100\n{rule}\n}}"
    await lab.node("eni-1").exec("nft", f"table {table} {{\nchain prerouting {chain}\n}}")
    try:
        script = (
            "import urllib.request as u, sys; "
            "print(u.urlopen(sys.argv[1], timeout=60).read().decode())"
        )
        address = f"[{SERVICE[family]}]" if family is Family.V6 else SERVICE[family]
        answer = await pods["a"].exec("python3", "-c", script, f"http://{address}/")
    finally:
        await lab.node("eni-1").exec("nft", "delete", "table", *table.split())

    seen = json.loads(answer)
    assert seen["host"] == backend
    assert seen["peer"] == str(node_address(lab, "eni-1", family))


@both
async def test_a_pod_that_sends_past_its_routes_is_not_lent_the_address_of_its_node(pods, family):
    """Elsewhere it would be the node for policies: only what the node translated goes on."""
    pod, far = pods["a"], pods["far"].address(family)
    gateway = "169.254.1.1" if family is Family.V4 else "fe80::1"
    route = ("ip", "route", "%s", f"{far}/{far.max_prefixlen}", "via", gateway, "dev", "veth1")
    assert await pod.can_reach(pods["far"], family=family)

    await pod.exec(*(one.replace("%s", "add") for one in route), "onlink")
    try:
        assert not await pod.can_reach(pods["far"], family=family, timeout_s=1.0)
    finally:
        await pod.exec(*(one.replace("%s", "del") for one in route))

    assert await pod.can_reach(pods["far"], family=family)


async def test_the_nodes_own_dns_cache_answers_pods(lab, pods):
    """Bug class 34: what leaves the node by the ENI misses what is on the node."""
    node = lab.node("eni-1")
    await node.exec("ip", "address", "add", "169.254.20.10/32", "dev", "lo")
    try:
        await pods["a"].exec("ping", "-c1", "-w20", "169.254.20.10")
    finally:
        await node.exec("ip", "address", "del", "169.254.20.10/32", "dev", "lo")


async def test_the_metadata_service_is_reached_unless_the_pod_may_not(lab, pods):
    notes = {"k8s.aliyun.com/metadata-access": "false"}
    closed = await lab.pod("closed", node="eni-1", annotations=notes)
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=60).read())"

    assert lab.instances["eni-1"].id in await pods["a"].exec("python3", "-c", script)
    assert "URLError" in await closed.exec("python3", "-c", script, check=False)
    await lab.delete_pod("closed")


async def test_the_runtime_has_a_list_of_our_plugin_alone(lab):
    conf = json.loads(lab.node("eni-1").inside("/etc/cni/net.d/10-terway.conflist").read_text())

    assert [one["type"] for one in conf["plugins"]] == ["terway"]
    assert conf["plugins"][0]["host_stack_cidrs"] == ["169.254.20.10/32"]
    assert conf["plugins"][0]["capabilities"] == {"bandwidth": True}


async def test_after_DEL_the_device_is_on_the_node_and_serves_the_next_pod(lab):
    node = lab.node("eni-2")
    pod = await lab.pod("short", node="eni-2")
    mac = mac_of(lab, pod)

    await lab.delete_pod("short")

    await wait_back(node, mac)
    assert str(pod.address(Family.V4)) not in (await node.exec("ip", "route")).split()
    again = [await lab.pod(f"next-{number}", node="eni-2") for number in range(6)]
    assert mac in {mac_of(lab, one) for one in again}
    await asyncio.gather(*(lab.delete_pod(one.name) for one in again))


async def test_connections_survive_the_end_of_an_agent_and_pods_start_after(lab, pods):
    flow = await pods["a"].connect(pods["far"])
    with lab.cloud.calls.recording() as calls:
        await lab.node("eni-1").kill_agent()
        pod = await lab.pod("later", node="eni-1")

    assert await flow.echo(b"still there") == b"still there"
    assert (await link_of(pods["a"]))["address"] == mac_of(lab, pods["a"])
    assert [call for call in calls.mutating if "Detach" in str(call)] == []
    await flow.close()
    await lab.delete_pod(pod.name)


async def test_a_namespace_that_ends_without_DEL_gives_its_device_back(lab):
    """Bug class 18: DEL with the namespace gone."""
    node = lab.node("eni-2")
    pod = await lab.pod("killed", node="eni-2", command=SLEEP)
    mac = mac_of(lab, pod)
    path = (await node.exec("findmnt", "-rno", "TARGET", "-t", "nsfs")).split()
    own = [one for one in path if pod.netns_path.endswith(one)]

    await node.exec("umount", "-l", *own)
    await node.exec("kill", "-9", str(pod.pid))
    await wait_back(node, mac, only_down=False)
    await lab.delete_pod("killed")

    await wait_back(node, mac)


async def test_a_full_node_says_how_its_pods_are_counted(lab):
    """Bug class 1: no address though the type seems to have many."""
    names = [f"full-{number}" for number in range(6)]
    made = await asyncio.gather(*(lab.pod(one, node="eni-1") for one in names[:5]))

    assert len({mac_of(lab, one) for one in made}) == 5
    await lab.kube.create(
        PODS,
        pod_manifest("full-5", namespace="default", node="eni-1", command=SLEEP),
        namespace="default",
    )
    async with asyncio.timeout(PATIENCE_S):
        while "EniQuantity - 1 = 8 - 1" not in log_of(lab.node("eni-1")):
            await lab.node("eni-1").exec("true")
    await asyncio.gather(*(lab.delete_pod(one) for one in names))


async def test_kill_after_kill_while_pods_start_leaves_no_device_and_no_pod_behind(lab):
    """Bug classes 2 and 3: a crash in the middle of ADD."""
    node = lab.node("eni-2")
    before = await host_links(node)
    names = [f"churn-{number}" for number in range(5)]
    starting = asyncio.gather(*(lab.pod(name, node="eni-2") for name in names))

    for _ in range(3):
        await node.kill_agent()
    made = await starting

    macs = {mac_of(lab, pod) for pod in made}
    assert len(macs) == len(names)
    for pod in made:
        assert (await link_of(pod))["address"] == mac_of(lab, pod)
    await asyncio.gather(*(lab.delete_pod(name) for name in names))
    for mac in macs:
        await wait_back(node, mac)
    async with asyncio.timeout(PATIENCE_S):  # what a killed terwayd left, the next one sweeps away
        while await host_links(node) - before:  # and what an earlier pod had may go meanwhile
            await node.exec("true")


async def test_an_eni_that_is_plugged_again_goes_back_into_its_pod(lab, pods):
    mac = mac_of(lab, pods["a"])
    eni = next(one for one in lab.cloud.world.state.enis.values() if one.mac == mac)
    link = fabric_name(eni.id)

    await run_command(["nsenter", f"--net={lab.fabric.vpc_netns_path}", "ip", "link", "del", link])

    async with asyncio.timeout(PATIENCE_S):
        while not await pods["a"].can_reach(pods["far"], timeout_s=0.5):
            await lab.node("eni-1").exec("true")
    assert (await link_of(pods["a"]))["address"] == mac


async def test_what_others_change_in_the_pod_is_put_right(lab, pods):
    """Bug class 27."""
    await run_command(["nsenter", f"--net={pods['a'].netns_path}", "ip", "route", "flush", "all"])

    async with asyncio.timeout(PATIENCE_S):
        while not await pods["a"].can_reach(pods["far"], timeout_s=0.5):
            await lab.node("eni-1").exec("true")
        while "veth1" not in await pods["a"].exec("ip", "route", "get", "172.21.0.10"):
            pass


SPOOFED = {
    "source address": "eth(own) + struct.pack('!H', 0x800) + ip('192.168.32.250')",
    "source MAC": "eth(b'\\x02\\0\\0\\0\\0\\x99') + struct.pack('!H', 0x800) + ip(address)",
    "another's ARP": "eth(own) + struct.pack('!H', 0x806) + arp(b'\\x02\\0\\0\\0\\0\\x99')",
}
SEND = """
import socket, struct, sys
own = bytes.fromhex(sys.argv[1].replace(':', '')); address, target = sys.argv[2:4]
def eth(source): return b'\\xee' + b'\\xff' * 5 + source
def ip(source):
    head = struct.pack('!BBHHHBBH', 0x45, 0, 28, 0, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    total = sum(struct.unpack('!10H', head)); total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack('!H', ~total & 0xffff) + head[12:]
    return head + struct.pack('!HHHH', 9, 9, 8, 0)
def arp(mac):
    claim = struct.pack('!HHBBH', 1, 0x800, 6, 4, 2) + mac + socket.inet_aton(target)
    return claim + b'\\xff' * 6 + socket.inet_aton(target)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); raw.bind(('eth0', 0))
raw.send(FRAME)
"""


@pytest.mark.parametrize("what", SPOOFED)
async def test_the_vpc_drops_what_a_pod_claims_falsely(lab, pods, what):
    """Decision record 3: nothing of the node sees these packets; the ENI's source check does."""
    pod, far = pods["a"], pods["far"]
    mac = mac_of(lab, pod)
    eni = next(one.id for one in lab.cloud.world.state.enis.values() if one.mac == mac)
    before = _refused((await lab.fabric.counters())[eni])

    v4 = (str(pod.address(Family.V4)), str(far.address(Family.V4)))
    await pod.exec("python3", "-c", SEND.replace("FRAME", SPOOFED[what]), mac, *v4)

    async with asyncio.timeout(PATIENCE_S):  # the frame may wait for ksoftirqd after it was sent
        while (after := _refused((await lab.fabric.counters())[eni])) == before:
            pass
    assert after == before + 1


def _refused(counters: PortCounters) -> int:
    """Return how many packets the VPC refused; the kernel's own multicast comes when it likes."""
    return sum(n for reason, n in counters.drops.items() if reason is not DropReason.MULTICAST)


async def test_a_changed_label_is_refused_until_it_is_changed_back(lab):
    """The mode is decided once in a node's life."""
    node = lab.node("eni-2")
    (name, value), *_ = EXCLUSIVE_LABELS.items()
    await label(lab, "eni-2", name, "default")
    before = len(log_of(node))
    try:
        await node.restart_agent()
        async with asyncio.timeout(PATIENCE_S):
            while "exclusive eni mode changed" not in log_of(node)[before:]:
                await node.exec("true")
    finally:
        await label(lab, "eni-2", name, value)

    pod = await lab.pod("again", node="eni-2")
    assert mac_of(lab, pod)
    await lab.delete_pod("again")


async def label(lab: Lab, node: str, name: str, value: str) -> None:
    await lab.kube.patch(NODES, node, {"metadata": {"labels": {name: value}}})


async def test_what_a_pod_sends_is_held_to_its_limit(lab, pods):
    notes = {"kubernetes.io/egress-bandwidth": "50M"}
    held = await lab.pod("held", node="eni-1", annotations=notes)

    carried = await held.tool("flood", str(pods["far"].address(Family.V4)), "1.5")

    assert carried["bits_per_s"] < 60e6
    assert "tbf" in await held.exec("tc", "qdisc", "show")
    await lab.delete_pod("held")
