"""Real packets through the fabric: instances in namespaces, ping and TCP of the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.state import RouteEntry
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import gateway_of
from tests.support.frames import ip_frame, ipv4, udp
from tests.support.instances import (
    NODES,
    OPEN,
    PODS,
    VPC,
    allow,
    group,
    port,
    socket_in,
    vpc_state,
    with_groups,
)
from tests.support.vpc_network import (
    Network,
    connect,
    family,
    listen,
    open_network,
    transfer,
)

pytestmark = pytest.mark.root

A, B = port(10), port(11)
FAR = port(12, vswitch=PODS)
SERVICE = IPv4Address("100.100.100.200")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with open_network(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("other", [B, FAR], ids=["same vSwitch", "other vSwitch"])
async def test_instances_reach_each_other_in_both_families(network, other):
    one, two = await network.start(vpc_state(A, other))

    assert one.can_reach(other.ipv4[0])
    assert one.can_reach(other.ipv6[0])
    assert two.can_reach(A.ipv4[0])


async def test_the_gateway_answers_pings_in_both_families(network):
    (one,) = await network.start(vpc_state(A))

    assert one.can_reach(gateway_of(NODES.cidr))
    assert NODES.ipv6_cidr is not None
    assert one.can_reach(gateway_of(NODES.ipv6_cidr))


async def test_every_neighbour_has_the_routers_mac(network):
    one, _ = await network.start(vpc_state(A, B))

    one.can_reach(B.ipv4[0])
    one.can_reach(B.ipv6[0])

    neighbours = [line for line in one.ip("neigh").splitlines() if "FAILED" not in line]
    assert len(neighbours) == 2
    assert all("lladdr ee:ff:ff:ff:ff:ff" in line for line in neighbours)


@pytest.mark.parametrize("version", [0, 1], ids=["IPv4", "IPv6"])
async def test_a_tcp_transfer_crosses_in_large_segments_unharmed(network, version):
    one, two = await network.start(vpc_state(A, FAR))
    address = (FAR.ipv4[0], FAR.ipv6[0])[version]
    data = os.urandom(1 << 20) * 16
    listener = await listen(two, address, 8080)
    with listener, await connect(one, address, 8080) as client:
        server, _ = await asyncio.get_running_loop().sock_accept(listener)
        with server:
            received = await transfer(client, server, data)

    counters = (await network.fabric.counters())[A.eni_id]
    assert received == data
    assert counters.egress_bytes > len(data)
    assert counters.egress_packets < len(data) / 8000  # segments of 1448 would be five times more


async def test_a_rule_lets_one_port_in_and_answers_out(network):
    web = group("sg-web", allow("192.168.0.0/16", protocol=6, ports=(80, 80)))
    guarded = with_groups(B, web)
    one, two = await network.start(vpc_state(A, guarded, groups=(OPEN, web)))

    with await listen(two, B.ipv4[0], 80), await listen(two, B.ipv4[0], 81):
        (await connect(one, B.ipv4[0], 80)).close()
        with pytest.raises(TimeoutError):
            await connect(one, B.ipv4[0], 81, timeout_s=1)

    assert not one.can_reach(B.ipv4[0], within_s=1)
    assert await network.drops(guarded, DropReason.INGRESS) >= 2


async def test_the_guarded_side_may_open_what_it_likes(network):
    shut = group("sg-shut")
    one, two = await network.start(vpc_state(A, with_groups(B, shut), groups=(OPEN, shut)))
    opened = group("sg-open", allow("0.0.0.0/0"))
    await network.fabric.apply(vpc_state(A, with_groups(B, shut), groups=(opened, shut)))

    assert two.can_reach(A.ipv4[0])
    assert not one.can_reach(B.ipv4[0], within_s=1)


async def test_a_connection_goes_on_through_changes_that_do_not_concern_it(network):
    one, two = await network.start(vpc_state(A, B))
    loop = asyncio.get_running_loop()
    listener = await listen(two, B.ipv4[0], 80)
    with listener, await connect(one, B.ipv4[0], 80) as client:
        server, _ = await loop.sock_accept(listener)
        with server:
            await network.fabric.apply(vpc_state(A, B, FAR))
            assert await transfer(client, server, b"still there") == b"still there"


async def test_a_foreign_source_is_dropped_and_counted(network):
    one, _ = await network.start(vpc_state(A, B))
    stolen = NODES.cidr[99]
    one.ip(f"addr add {stolen}/19 dev eth0")

    one.run(
        "ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", str(stolen), str(B.ipv4[0]), check=False
    )

    assert await network.drops(A, DropReason.SOURCE_ADDRESS) >= 2
    assert await network.drops(B, DropReason.INGRESS) == 0


async def test_a_custom_route_leads_through_an_instance_that_forwards(network):
    behind = IPv4Address("10.9.9.9")
    router = replace(B, source_check=False)
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("10.9.0.0/16"), next_hop=B.eni_id)
    one, two = await network.start(replace(vpc_state(A, router), routes=(route,)))
    two.ip(f"addr add {behind}/32 dev lo")

    assert one.can_reach(behind)


async def test_a_service_is_reached_from_an_instance_and_knows_its_address(network):
    state = replace(vpc_state(A), services=(SERVICE,))
    (one,) = await network.start(state)
    loop = asyncio.get_running_loop()
    with socket_in(network.fabric.services_netns_path, socket.AF_INET, socket.SOCK_STREAM) as at:
        at.bind((str(SERVICE), 80))
        at.listen()
        with await connect(one, SERVICE, 80) as client:
            server, peer = await loop.sock_accept(at)
            with server:
                assert await transfer(server, client, b"x" * 100_000) == b"x" * 100_000

    assert peer[0] == str(A.ipv4[0])


async def test_an_error_about_a_packet_to_a_service_comes_back(network):
    (one,) = await network.start(replace(vpc_state(A), services=(SERVICE,)))
    with one.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((str(SERVICE), 9))
        client.send(b"nobody listens")

        with pytest.raises(ConnectionRefusedError):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_recv(client, 1)


async def test_a_service_that_goes_takes_its_address_along(network):
    state = replace(vpc_state(A), services=(SERVICE,))
    (one,) = await network.start(state)
    assert one.can_reach(SERVICE)

    await network.fabric.apply(vpc_state(A))

    assert not one.can_reach(SERVICE, within_s=1)
    assert await network.drops(A, DropReason.NO_ROUTE) >= 2


@pytest.mark.parametrize("version", [0, 1], ids=["IPv4", "IPv6"])
async def test_a_large_packet_to_a_small_mtu_teaches_its_sender_the_path(network, version):
    jumbo = replace(A, mtu_bytes=9000)
    one, _ = await network.start(vpc_state(jumbo, B))
    address = (B.ipv4[0], B.ipv6[0])[version]

    # The first is lost, which ends the asking; the next ones are fragmented by the sender.
    assert one.can_reach(address, size=6000) or one.can_reach(address, size=6000)
    assert "mtu 1500" in one.ip(f"route get {address}")
    assert await network.drops(jumbo, DropReason.TOO_BIG) >= 1


async def test_jumbo_frames_pass_between_jumbo_ports(network):
    jumbo = [replace(one, mtu_bytes=9000) for one in (A, B)]
    one, _ = await network.start(vpc_state(*jumbo))

    assert one.can_reach(B.ipv4[0], size=8972, df=True)
    assert one.can_reach(B.ipv6[0], size=8952, df=True)


async def test_a_sender_that_raises_its_own_mtu_is_told_and_counted(network):
    one, _ = await network.start(vpc_state(A, B))
    one.ip("link set eth0 mtu 9000")

    one.can_reach(B.ipv4[0], size=6000, df=True, within_s=1)

    assert await network.drops(A, DropReason.TOO_BIG) >= 1


async def test_large_datagrams_arrive_in_fragments(network):
    one, two = await network.start(vpc_state(A, FAR))
    for address in (FAR.ipv4[0], FAR.ipv6[0]):
        with two.socket(family(address), socket.SOCK_DGRAM) as receiver:
            receiver.bind((str(address), 5000))
            with one.socket(family(address), socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x" * 20_000, (str(address), 5000))
                async with asyncio.timeout(PATIENCE_S):
                    received = await asyncio.get_running_loop().sock_recv(receiver, 1 << 16)
        assert received == b"x" * 20_000


async def test_frames_of_every_length_leave_the_fabric_standing(network):
    one, _ = await network.start(vpc_state(A, B))
    good = ip_frame(A, ipv4(A.ipv4[0], B.ipv4[0], 17, udp(1, 2)))
    with one.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for length in range(15, len(good)):
            raw.send(good[:length])

    async with asyncio.timeout(PATIENCE_S):  # frames may wait for ksoftirqd after they were sent
        while await network.drops(A, DropReason.MALFORMED) < len(good) - 15:
            pass
    assert one.can_reach(B.ipv4[0])
