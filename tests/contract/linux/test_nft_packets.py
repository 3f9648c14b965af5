"""Real packets through the rules of the policy table, in namespaces of their own."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from terway.model.address import Family
from terway.model.nft import Hook
from terway.policy.cluster import Protocol
from terway.policy.compiled import Compiled
from terway.policy.nft.interpreter import Interpreter
from terway.policy.nft.packet import Packet
from terway.policy.nft.skeleton import Options
from terway.policy.policies import Direction
from terway.policy.ports import NOTHING, PortSet, ports_of
from tests.support.policed_node import PolicedNode, address_of, only, policed_node
from tests.support.wires import ACK, SYN, Wires, heard, tcp_segment

pytestmark = pytest.mark.root

_SO_RCVBUFFORCE = 33
_UNDER_WAY = 100  # packets of one kind
_WAIT_S = 10.0  # for what is under way; it is lost then
TCP_80 = ports_of(Protocol.TCP, 80, 80)
FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda one: one.name)


@pytest.fixture
def node() -> Iterator[PolicedNode]:
    with policed_node() as made:
        yield made


@pytest.fixture
async def wires() -> AsyncIterator[Wires]:
    with Wires() as made:
        yield made


def interpreted(node: PolicedNode, family: Family, port: int) -> bool:
    table = node.read()
    assert table is not None
    packet = Packet(
        hook=Hook.FORWARD,
        source=address_of("a", family),
        destination=address_of("b", family),
        protocol=socket.IPPROTO_UDP,
        destination_port=port,
        iif="calia",
        oif="calib",
    )
    return Interpreter(table).accepts(packet)


@FAMILIES
@pytest.mark.parametrize("direction", list(Direction))
async def test_datagrams_arrive_where_the_interpreter_says_so(node, wires, family, direction):
    ports = PortSet(udp=((53, 53), (1000, 2000)))
    pod, other = ("b", "a") if direction is Direction.INGRESS else ("a", "b")
    node.enforce(only(direction, ports, pod=pod, other=other))
    source, target = node.end("a", family), node.end("b", family)

    said = {port: interpreted(node, family, port) for port in (52, 53, 54, 999, 1000, 2000, 2001)}
    arrived = {port: await wires.passes(source, target, port) for port in said}

    assert arrived == said
    assert [port for port, does in arrived.items() if does] == [53, 1000, 2000]


@FAMILIES
async def test_a_change_cuts_an_open_connection_at_once_and_lets_it_go_on_later(
    node, wires, family
):
    source, target = node.end("a", family), node.end("b", family)
    node.enforce(only(Direction.INGRESS, TCP_80))
    listener = await wires.tcp_listener(target, 80)
    client = await wires.connect(source, target, 80)
    server = await wires.accept(listener)

    node.enforce(only(Direction.INGRESS, NOTHING))
    client.send(b"too late")
    await wires.fence(source, target)
    assert heard(server) == []

    node.enforce(only(Direction.INGRESS, TCP_80))
    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(server, 100) == b"too late"


@FAMILIES
async def test_answers_of_an_isolated_pod_pass(node, wires, family):
    node.enforce(only(Direction.EGRESS, TCP_80, pod="a", other="b"))
    listener = await wires.tcp_listener(node.end("b", family), 80)

    client = await wires.connect(node.end("a", family), node.end("b", family), 80)
    server = await wires.accept(listener)
    server.send(b"answer")

    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b"answer"


@FAMILIES
@pytest.mark.parametrize("flags", [ACK, SYN | ACK])
async def test_a_forged_answer_plants_nothing(node, wires, family, flags):
    """Neither the port that is open for it nor another lets it in, and nothing is remembered."""
    node.enforce(only(Direction.INGRESS, TCP_80))
    source, target = node.end("a", family), node.end("b", family)
    sender, receiver = await wires.raw(source, 6), await wires.raw(target, 6)

    for ports in ((4000, 80), (80, 4000)):
        segment = tcp_segment(source, target, ports, flags=flags)
        sender.sendto(segment, (str(target.address), 0))
    await wires.fence(source, target)

    assert heard(receiver) == []
    assert "tcp" not in node.node.run(f"conntrack -L -f ipv{family.value} 2>/dev/null")


@FAMILIES
async def test_an_error_about_an_allowed_datagram_comes_back(node, wires, family):
    """Nobody listens there: the ICMP error reaches a pod that lets nobody in."""
    shut = only(Direction.INGRESS, NOTHING, pod="a", other="b")
    node.enforce(shut)
    source, target = node.end("a", family), node.end("b", family)
    sender = await wires.udp(source)
    await asyncio.get_running_loop().sock_connect(sender, (str(target.address), 5353))

    sender.send(b"anybody?")

    async with asyncio.timeout(10):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().sock_recv(sender, 100)


@FAMILIES
@pytest.mark.parametrize("is_allowed", [True, False])
def test_echo_passes_where_a_peer_is_named_without_ports(node, family, is_allowed):
    node.enforce(only(Direction.INGRESS, PortSet(other=is_allowed)))

    options = "-W 1" if not is_allowed else ""
    assert node.pods["a"].pings(address_of("b", family), options=options) is is_allowed


@FAMILIES
async def test_a_pod_and_its_node_talk_whatever_isolates_the_pod(node, wires, family):
    """bug class 50: probes, whatever isolates the pod"""
    wish = only(Direction.INGRESS, NOTHING, pod="a", other="b")
    egress = only(Direction.EGRESS, NOTHING, pod="a", other="b")
    node.enforce(wish)
    pod, host = node.end("a", family), node.end("node", family)

    assert await wires.passes(host, pod, 53)
    node.enforce(egress)
    assert await wires.passes(pod, host, 53)
    assert await wires.passes(host, pod, 53)


@FAMILIES
async def test_cluster_policies_keep_a_pod_from_its_node_but_not_the_node_from_it(
    node, wires, family
):
    node.enforce(only(Direction.EGRESS, NOTHING, pod="a", other="node", to_node=True))
    pod, host = node.end("a", family), node.end("node", family)

    assert not await wires.passes(pod, host, 53)
    assert await wires.passes(host, pod, 53)
    listener = await wires.tcp_listener(pod, 80)
    await wires.connect(host, pod, 80)
    await wires.accept(listener)


@FAMILIES
async def test_rejecting_tells_who_is_denied(node, wires, family):
    node.options = Options(is_rejecting=True)
    node.enforce(only(Direction.INGRESS, NOTHING))
    source, target = node.end("a", family), node.end("b", family)

    with pytest.raises(ConnectionRefusedError):
        await wires.connect(source, target, 80)
    sender = await wires.udp(source)
    await asyncio.get_running_loop().sock_connect(sender, (str(target.address), 53))
    sender.send(b"?")
    async with asyncio.timeout(10):
        with pytest.raises(OSError, match=r"No route to host|Permission denied"):
            await asyncio.get_running_loop().sock_recv(sender, 100)


@FAMILIES
async def test_inside_a_pod_the_same_is_judged_at_its_own_link(node, wires, family):
    """A neighbour is still found: its talk is not judged."""
    node.enforce(only(Direction.INGRESS, PortSet(udp=((53, 53),))), place="b")
    node.pods["b"].run("ip neigh flush all")
    source, target = node.end("a", family), node.end("b", family)

    assert await wires.passes(source, target, 53)
    assert not await wires.passes(source, target, 54)
    assert await wires.passes(target, source, 54)


@FAMILIES
async def test_nothing_is_judged_where_nothing_is_compiled(node, wires, family):
    node.enforce(Compiled())

    assert await wires.passes(node.end("a", family), node.end("b", family), 53)


@FAMILIES
async def test_no_packet_slips_through_or_is_lost_while_all_is_made_anew(node, wires, family):
    """bug class 46: one process after the other takes the table over, under load"""
    wish = only(Direction.INGRESS, PortSet(udp=((53, 53),)))
    node.enforce(wish)
    source, target = node.end("a", family), node.end("b", family)
    allowed, denied = await wires.udp(target, 53), await wires.udp(target, 54)
    for receiver in (allowed, denied):
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 28)
    sender = await wires.udp(source)
    is_over = threading.Event()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_send_until, is_over, sender, str(target.address), allowed)
        for _ in range(60):
            await asyncio.to_thread(node.enforce, wish)
        is_over.set()
        sent, arrived = sending.result()
    await wires.fence(source, target)

    assert heard(denied) == []
    assert arrived + len(heard(allowed)) == sent


def _send_until(
    is_over: threading.Event, sender: socket.socket, target: str, allowed: socket.socket
) -> tuple[int, int]:
    """Send to both ports until it is over, on whichever core is free.

    Return how often, and how much of it has been heard. Few are under way at once: a core that is
    late with its work has a queue for 1000 packets, and loses the rest with no policy's help. All
    have come in the end: a fence from another core would overtake those of a late one.
    """
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    sent = arrived = 0
    while not (is_over.is_set() and arrived == sent):
        if sent - arrived < _UNDER_WAY and not is_over.is_set():
            for port in (54, 53):
                sender.sendto(b"x", (target, port))
            sent += 1
        elif select.select([allowed], [], [], _WAIT_S)[0]:
            arrived += len(heard(allowed))
        else:
            break
    return sent, arrived
