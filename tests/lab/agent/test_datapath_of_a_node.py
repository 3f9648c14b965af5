"""The eBPF data path of one node: how it comes to pods, stays, is exchanged, mended, and goes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.linux.bpf import Map
from terway.linux.ebpf.entries import unpack_address_of
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.removal import remove_datapath
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import entered, open_netns
from terway.model.address import Family
from tests.support.counted import counted
from tests.support.datapath_node import FACTS, DataPathNode, of
from tests.support.kernel_node import ENI, WORLD_V4, WORLD_V6, kernel_node, sh
from tests.support.streams import lockstep

pytestmark = pytest.mark.root

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])


@pytest.fixture
def node(tmp_path):
    with kernel_node() as machine:
        made = DataPathNode(machine, tmp_path, Pins(Path("/sys/fs/bpf") / tmp_path.name))
        yield made
        with open_route_socket() as sock:
            remove_datapath(sock, made.pins)


def maps(node: DataPathNode) -> dict[str, Map]:
    assert node.running is not None
    assert node.running.kernel.datapath is not None
    return dict(node.running.kernel.datapath.object.maps)


def host_link() -> str:
    """Return the only host link of a pod."""
    (name,) = (
        line.split()[1].split("@")[0] for line in sh("ip -o link").splitlines() if "cali" in line
    )
    return name


def forwarded() -> int:
    """Return how many packets the node's stack has forwarded."""
    names, values = (
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if "Ip:" in line[:3]
    )
    found = Path("/proc/net/snmp6").read_text().split()
    v6 = int(found[found.index("Ip6OutForwDatagrams") + 1])
    return int(values[names.index("ForwDatagrams")]) + v6


@contextmanager
def udp(netns: str, address: object, port: int):
    """Open a socket in a pod."""
    kind = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    with ExitStack() as stack:
        with open_netns(netns) as opened, entered(opened.fd):
            sock = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        sock.bind((str(address), port))
        sock.setblocking(False)
        yield sock


@contextmanager
def connection(a: str, b: str, target: tuple[object, int]):
    """Connect two pods by TCP."""
    kind = socket.AF_INET6 if ":" in str(target[0]) else socket.AF_INET
    place = (str(target[0]), target[1])
    with ExitStack() as stack:
        with open_netns(b) as opened, entered(opened.fd):
            listener = stack.enter_context(socket.create_server(place, family=kind))
        with open_netns(a) as opened, entered(opened.fd):
            speaks = stack.enter_context(socket.create_connection(place, timeout=60))
        hears, _ = listener.accept()
        stack.enter_context(hears)
        hears.settimeout(60)
        yield speaks, hears


async def test_pods_reach_each_other_and_the_vpc_past_the_nodes_stack(node):
    async with node.terwayd():
        (a, _), (_, b_has) = await node.add("a"), await node.add("b")
        a_has = next(one.lease.addresses for one in node.pool.attachments())
        node.machine.know(*map(str, (*a_has, *b_has)))
        for address in (*map(str, b_has), WORLD_V4, WORLD_V6):
            node.machine.ping(a, address)  # neighbours are known from here on
        before = forwarded()

        for address in (*map(str, b_has), WORLD_V4, WORLD_V6):
            node.machine.ping(a, address)

        assert forwarded() == before


async def test_the_node_and_its_pods_reach_each_other(node):
    """Bug class 50."""
    async with node.terwayd():
        pod, addresses = await node.add("a")

        for address in addresses:
            sh(f"ping -n -c1 -w20 {address}")
        for address in ("192.168.0.10", "fd00::10"):
            node.machine.ping(pod, address)


async def test_the_nodes_own_addresses_are_known_from_the_start(node):
    sh("ip link add docker0 type dummy || ip link add docker0 type veth peer name d1")
    sh("ip addr add 172.17.0.1/16 dev docker0")

    async with node.terwayd():
        known = {unpack_address_of(key) for key in maps(node)["locals"].items()}

    assert {ip_address(one) for one in ("172.17.0.1", "192.168.0.10", "fd00::10")} <= known


async def test_CHECK_finds_all_as_it_should_be_and_names_what_is_not(node):
    async with node.terwayd() as running:
        await node.add("a")
        (attachment,) = node.pool.attachments()
        assert await running.network.differences(attachment, pod_mac=None) == ()

        sh(f"tc filter del dev {host_link()} egress pref 150")

        (said,) = await running.network.differences(attachment, pod_mac=None)
        assert f"data path dev {host_link()}" in said


async def test_a_program_that_somebody_takes_away_comes_back(node):
    """Bug class 27."""
    async with node.terwayd() as running:
        await node.add("a")
        (attachment,) = node.pool.attachments()
        sh(f"tc filter del dev {host_link()} ingress pref 150")

        assert await running.network.mend(attachment)

        assert "terway_from_pod" in sh(f"tc filter show dev {host_link()} ingress")
        assert not await running.network.mend(attachment)


async def test_a_second_look_changes_nothing(node):
    async with node.terwayd() as running:
        await node.add("a")

        for _ in range(2):
            assert await running.network.sweep(node.pool.attachments, lambda: ()) == ()


async def test_DEL_leaves_nothing_of_the_pod_in_maps(node):
    async with node.terwayd() as running:
        await running.network.sweep(node.pool.attachments, lambda: ())
        before = {name: set(maps(node)[name].keys()) for name in ("endpoints", "links", "locals")}
        pod, _ = await node.add("a")

        assert await node.run("DEL", "a", pod) == 0

        assert {name: set(maps(node)[name].keys()) for name in before} == before


async def test_what_a_pod_left_that_ended_while_terwayd_was_away_is_swept(node):
    """Bug class 19."""
    async with node.terwayd():
        await node.add("a")
    (attachment,) = node.pool.attachments()
    await node.pool.release(attachment.key)

    async with node.terwayd() as running:
        assert list(maps(node)["endpoints"].keys())
        await running.network.sweep(node.pool.attachments, lambda: ())

        assert list(maps(node)["endpoints"].keys()) == []


@both
async def test_no_packet_is_lost_while_terwayds_and_layouts_replace_each_other(node, family):
    """Bug classes 20 and 46: datagrams there and back, of which each must come."""
    async with node.terwayd():
        (a, a_has), (b, b_has) = await node.add("a"), await node.add("b")
    target = of(b_has, family), 7000

    with (
        udp(a, of(a_has, family), 7001) as client,
        udp(b, *target) as server,
        connection(a, b, target) as (speaks, hears),
    ):
        async with lockstep(client, server, target) as flow:
            for layout in (1, 2, 2, 1):
                async with node.terwayd(layout=layout):
                    await flow.advance()
                await flow.advance()
                assert node.pins.layouts() == (layout,)
                speaks.sendall(b"still there")
                assert hears.recv(64) == b"still there"


async def test_of_a_hundred_thousand_datagrams_an_exchange_loses_at_most_one(node):
    """As many as go there and back while terwayds of both layouts come and go, five times."""
    async with node.terwayd():
        (a, a_has), (b, b_has) = await node.add("a"), await node.add("b")
    target = str(b_has.v4), 7000

    with (
        udp(a, a_has.v4, 7001) as client,
        udp(b, *target) as server,
        counted(client, server, target) as flow,
    ):
        for number in range(5):
            async with node.terwayd(layout=1 + number % 2):
                await asyncio.to_thread(flow.reached, 20_000 * (number + 1))

    assert flow.sent >= 100_000
    assert flow.lost <= flow.sent // 100_000


async def test_a_connection_lives_on_when_its_node_gets_the_data_path_and_when_it_loses_it(node):
    """Bug class 20: veth, datapathv2, and back."""
    async with node.terwayd(has_datapath=False):
        (a, a_has), (b, b_has) = await node.add("a"), await node.add("b")
    family = Family.V4
    target = of(b_has, family), 7000

    with udp(a, of(a_has, family), 7001) as client, udp(b, *target) as server:
        async with lockstep(client, server, target) as flow:
            for has_datapath in (True, False, True, False):
                async with node.terwayd(has_datapath=has_datapath) as running:
                    await flow.advance()
                    await running.network.sweep(node.pool.attachments, lambda: ())
                    for one in node.pool.attachments():
                        assert await running.network.differences(one, pod_mac=None) == ()
                    await flow.advance()
    assert not [one for one in filters() if "_pod" in one]


async def test_taken_away_it_leaves_no_filter_no_pin_and_no_qdisc(node):
    async with node.terwayd(has_datapath=False):
        await node.add("a")
        before = queues(), filters()
    async with node.terwayd():
        assert node.pins.layouts()

    async with node.terwayd(has_datapath=False):
        pass

    assert (queues(), filters()) == before
    assert not node.pins.root.exists()


def queues() -> list[str]:
    """Return the queues that somebody made; the kernel's own come when a carrier is found."""
    lines = sh("tc qdisc").splitlines()
    return [line for line in lines if "noqueue" not in line and "noop" not in line]


def filters() -> list[str]:
    """Return the programs at all hooks, without their numbers."""
    lines = sh(
        "for l in $(ls /sys/class/net); do "
        "tc filter show dev $l ingress; tc filter show dev $l egress; done"
    )
    return [line.split(" id ")[0] for line in lines.splitlines() if " bpf " in line]


SERVICE_FACTS = replace(
    FACTS, service_cidrs=(ip_network("172.21.0.0/20"), ip_network("fd00:21::/112"))
)
SERVICE = {Family.V4: "172.21.0.10", Family.V6: "fd00:21::10"}


def proxy(family: Family, target: object) -> None:
    """Have somebody else lead a service to a backend, as kube-proxy does."""
    word = "ip" if family is Family.V4 else "ip6"
    host = f"[{target}]" if family is Family.V6 else target
    rule = f"{word} daddr {SERVICE[family]} udp dport 80 dnat {word} to {host}:7000"
    chain = f"chain c {{ type nat hook prerouting priority -100\n{rule}\n}}"
    sh(f"nft 'table inet proxy {{ {chain}\n}}'")


def ask(client: socket.socket, server: socket.socket, family: Family) -> tuple[str, int]:
    """Send to the service; return whom the answer comes from."""
    for sock in (client, server):
        sock.settimeout(60)
    client.sendto(b"?", (SERVICE[family], 80))
    _, peer = server.recvfrom(64)
    server.sendto(b"!", peer)
    _, answered = client.recvfrom(64)
    return str(answered[0]), int(answered[1])


@both
@pytest.mark.parametrize("place", ["here", "beyond"])
async def test_services_that_somebody_else_translates_are_answered(node, family, place):
    """Bug class 44's neighbour: an answer that goes past the stack is never translated back."""
    async with node.terwayd(facts=SERVICE_FACTS):
        (a, a_has), (b, b_has) = await node.add("a"), await node.add("b")
        node.machine.know(*map(str, (*a_has, *b_has)))
        world = WORLD_V4 if family is Family.V4 else WORLD_V6
        backend = str(of(b_has, family)) if place == "here" else world
        netns = b if place == "here" else f"/run/netns/{node.machine.vpc}"
        proxy(family, backend)

        with udp(a, of(a_has, family), 7001) as client, udp(netns, backend, 7000) as server:
            for _ in range(3):
                assert ask(client, server, family) == (SERVICE[family], 80)


async def test_pods_are_known_with_their_eni_to_a_terwayd_that_has_just_started(node):
    """Else all of them go by the node's stack, and the mender tells of each as damaged."""
    async with node.terwayd():
        await node.add("c1")
    (pod,) = node.pool.attachments()

    async with node.terwayd() as again:
        enis = ENILinks(again.kernel, FACTS, lambda: (ENI,))
        network = KernelNetwork(again.kernel, FACTS, enis)
        await network.enrol([pod])
        await enis.link_of(pod.lease.eni_mac)

        assert not await network.prove(pod)
