"""Priorities on an ENI that is crowded: who is guaranteed goes first, in both families."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.linux.kernel import Kernel
from terway.model.address import IPAddress
from terway.model.interface import NetworkPriority
from terway.model.network import NODE, LinkSettings, Put, Remove
from terway.model.traffic import PriorityBands, PriorityClass
from tests.support.netns import NodeWithENI

pytestmark = pytest.mark.root

SO_SNDBUFFORCE = 32
BANDS = PriorityBands(link="eth1")
SOURCES: dict[str, tuple[IPAddress, IPAddress, str]] = {
    "ipv4": (IPv4Address("192.168.32.1"), IPv4Address("192.168.32.2"), "192.168.63.253"),
    "ipv6": (IPv6Address("fd00:0:0:2::1"), IPv6Address("fd00:0:0:2::2"), "fd00:0:0:2::fffd"),
}


async def put(kernel: Kernel, *objects: PriorityBands | PriorityClass) -> None:
    up = LinkSettings(name="eth1")
    await kernel.apply([Put(netns=NODE, object=one) for one in (up, *objects)])


def flood(source: object, far: str) -> None:
    """Send 240 kB at once, with room for all of it in the socket."""
    family = socket.AF_INET6 if ":" in far else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        sock.bind((str(source), 0))
        for _ in range(200):
            sock.sendto(bytes(1200), (far, 9))


async def bands(kernel: Kernel) -> list[object]:
    found = (await kernel.read_node()).objects
    return [one for one in found if isinstance(one, PriorityBands)]


async def test_queues_are_put_read_back_and_taken_away(world: NodeWithENI, kernel: Kernel):
    world.node.run("ip link set eth1 up")
    before = world.node.run("tc qdisc show dev eth1 root")
    await put(kernel, BANDS)
    assert await bands(kernel) == [BANDS]

    await kernel.apply([Remove(netns=NODE, object=BANDS)])

    assert await bands(kernel) == []
    assert world.node.run("tc qdisc show dev eth1 root") == before


@pytest.mark.parametrize("damage", ["tc qdisc del dev eth1 root", "tc filter del dev eth1 egress"])
async def test_queues_that_somebody_took_away_are_missed(world, kernel, damage):
    # bug class 52: other users of traffic control
    await put(kernel, BANDS)
    world.node.run(damage)

    assert await bands(kernel) == []


async def test_each_transmit_queue_of_an_eni_has_its_own_three(world, kernel):
    # the links of the bench have one queue; one with four, as virtio-net has them, has mq
    world.node.run(
        "ip link del eth1;"
        "ip link add eth1 numtxqueues 4 numrxqueues 4 type veth peer name far1;"
        "ip link set far1 up; ip link set eth1 up; tc qdisc replace dev eth1 root handle 1: mq"
    )
    await put(kernel, BANDS)

    assert await bands(kernel) == [BANDS]
    shown = world.node.run("tc qdisc show dev eth1")
    assert shown.count("parent 7e2a:") == 4


@pytest.mark.parametrize("family", SOURCES)
async def test_who_is_guaranteed_passes_those_who_wait(world, kernel, family):
    # given an ENI that carries 1 Mbit/s, with our queues behind the bottleneck
    first, last, far = SOURCES[family]
    world.node.run(
        f"sysctl -qw net.ipv6.conf.eth1.accept_dad=0; ip link set eth1 up;"
        f"ip address add {first} dev eth1; ip address add {last} dev eth1;"
        f"ip route replace {far} dev eth1"
    )
    world.gateway.run(f"ip route replace {first} dev port; ip route replace {last} dev port")
    classes = (
        PriorityClass(link="eth1", source=first, priority=NetworkPriority.GUARANTEED),
        PriorityClass(link="eth1", source=last, priority=NetworkPriority.BEST_EFFORT),
    )
    await put(kernel, BANDS, *classes)
    world.node.run(
        "tc qdisc replace dev eth1 root handle 1: tbf rate 1mbit burst 3000 limit 10000000;"
        "tc qdisc replace dev eth1 parent 1:1 handle 10: prio"
        " || tc qdisc replace dev eth1 parent 1:1 handle 10: pfifo_fast"
    )

    # when best effort has a second's worth of packets waiting
    flood(last, far)
    time_of = "sed -n 's/.*time=\\([0-9.]*\\) .*/\\1/p'"
    said = world.node.run(
        f"for own in {first} {last}; do ping -nc1 -W3 -I $own {far} | {time_of}; done"
    )

    # then a packet of the guaranteed pod does not wait behind them, and one of their kind does
    guaranteed_ms, best_effort_ms = map(float, said.split())
    assert 2 * guaranteed_ms < best_effort_ms  # a busy machine is late by itself
    assert best_effort_ms > 100


async def test_a_class_is_changed_and_forgotten(kernel):
    one = PriorityClass(
        link="eth1", source=IPv4Address("10.0.0.1"), priority=NetworkPriority.BURSTABLE
    )
    other = replace(one, priority=NetworkPriority.GUARANTEED)

    await put(kernel, one, other)
    await kernel.apply([Remove(netns=NODE, object=other)])
    await kernel.apply([Remove(netns=NODE, object=other)])
