"""Members of a trunk with real packets: tags go on and come off, and each is an ENI of its own.

The guest is the simplest there is: an eBPF program on the trunk's link, which reads the tag that
the kernel shows, and a veth for each pod.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.oracle.fabric import with_tag
from tests.support.frames import arp, ip, ip_frame, udp
from tests.support.instances import OPEN, PODS, allow, group, member, port, vpc_state, with_groups
from tests.support.trunk_guest import (
    TrunkGuest,
    open_trunk,
    packet_socket,
    receive_tagged,
)
from tests.support.vpc_network import Network, connect, family, listen, open_network, transfer

pytestmark = pytest.mark.root

OTHERHOST = 3  # PACKET_OTHERHOST of linux/if_packet.h
A = port(10)
TRUNK = port(20, vswitch=PODS, instance="i-20")
ONE, TWO = member(31, TRUNK, 1), member(32, TRUNK, 4094)
SERVICE = IPv4Address("100.100.100.200")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with open_network(tmp_path) as opened:
        yield opened


async def apply(network: Network, *ports, **more) -> None:
    await network.fabric.apply(vpc_state(*ports, **more))


@pytest.fixture
async def guest(network, tmp_path) -> AsyncIterator[TrunkGuest]:
    """A trunk with two members that have pods, and an instance elsewhere."""
    _, node = await network.start(vpc_state(A, TRUNK))
    await apply(network, A, TRUNK, ONE, TWO)
    with open_trunk(node, TRUNK, tmp_path) as opened:
        opened.join(ONE)
        opened.join(TWO)
        yield opened


async def test_a_member_reaches_other_enis_and_is_reached_in_both_families(network, guest):
    pod = guest.pods[ONE.eni_id]

    assert pod.can_reach(A.ipv4[0])
    assert pod.can_reach(A.ipv6[0])
    assert network.instances["i-10"].can_reach(ONE.ipv4[0])
    assert network.instances["i-10"].can_reach(ONE.ipv6[0])


async def test_members_reach_each_other_and_the_trunk_by_way_of_the_vpc(network, guest):
    assert guest.pods[ONE.eni_id].can_reach(TWO.ipv4[0])
    assert guest.pods[TWO.eni_id].can_reach(TRUNK.ipv4[0])
    assert guest.node.can_reach(ONE.ipv6[0])

    counters = await network.fabric.counters()
    assert counters[ONE.eni_id].ingress_packets
    assert counters[TWO.eni_id].egress_packets


async def test_the_gateway_answers_a_member_behind_its_tag(guest):
    assert PODS.ipv6_cidr is not None
    pod = guest.pods[ONE.eni_id]

    assert pod.can_reach(PODS.cidr[-3])
    assert pod.can_reach(PODS.ipv6_cidr[-3])
    assert "ee:ff:ff:ff:ff:ff" in pod.ip("neigh show dev eth0")


async def test_what_comes_for_a_member_is_tagged_and_not_for_the_link_itself(network, guest):
    before = guest.kinds()

    assert network.instances["i-10"].can_reach(ONE.ipv4[0])

    assert before.keys() <= {OTHERHOST}
    assert guest.kinds().keys() == {OTHERHOST}


@pytest.mark.parametrize("version", [4, 6])
async def test_a_tcp_transfer_to_a_member_crosses_in_large_segments_unharmed(
    network, guest, version
):
    address = ONE.ipv4[0] if version == 4 else ONE.ipv6[0]
    listener = await listen(guest.pods[ONE.eni_id], address, 80)
    client = await connect(network.instances["i-10"], address, 80)
    server, _ = await asyncio.get_running_loop().sock_accept(listener)
    data = os.urandom(4 << 20)

    assert await transfer(client, server, data) == data
    assert await transfer(server, client, data) == data

    for one in (listener, client, server):
        one.close()
    drops = (await network.fabric.counters())[ONE.eni_id].drops
    # What a link says when it comes up, and whether somebody has its address already.
    assert drops.keys() <= {DropReason.MULTICAST, DropReason.UNANSWERED}


async def test_each_member_has_security_groups_of_its_own(network, tmp_path):
    web = group("sg-web", allow(OPEN, protocol=6, ports=(80, 80)), inner_access=False)
    guarded = with_groups(ONE, web)
    _, node = await network.start(vpc_state(A, TRUNK))
    await apply(network, A, TRUNK, guarded, TWO, groups=(OPEN, web))
    with open_trunk(node, TRUNK, tmp_path) as opened:
        pod, other = opened.join(guarded), opened.join(TWO)
        listener = await listen(pod, ONE.ipv4[0], 80)

        (await connect(network.instances["i-10"], ONE.ipv4[0], 80)).close()
        (await connect(other, ONE.ipv4[0], 80)).close()

        listener.close()
        assert not network.instances["i-10"].can_reach(ONE.ipv4[0], within_s=1)
        assert network.instances["i-10"].can_reach(TWO.ipv4[0])
    assert await network.drops(ONE, DropReason.INGRESS) >= 1
    assert await network.drops(TRUNK, DropReason.INGRESS) == 0


async def test_a_large_packet_to_a_member_teaches_its_sender_the_path(network, tmp_path):
    small = replace(TWO, mtu_bytes=1400)
    _, node = await network.start(vpc_state(A, TRUNK))
    await apply(network, A, TRUNK, ONE, small)
    with open_trunk(node, TRUNK, tmp_path) as opened:
        pod = opened.join(ONE)
        opened.join(small)

        assert not pod.can_reach(TWO.ipv4[0], size=1472, df=True, within_s=1)

        assert "mtu 1400" in pod.ip(f"route get {TWO.ipv4[0]}")
    assert await network.drops(ONE, DropReason.TOO_BIG) == 1


async def test_a_service_is_reached_from_a_member_and_knows_its_address(network, guest):
    state = replace(vpc_state(A, TRUNK, ONE, TWO), services=(SERVICE,))
    await network.fabric.apply(state)
    services = replace(guest.node, netns=network.fabric.services_netns_path)
    listener = services.socket(family(SERVICE), socket.SOCK_STREAM)
    listener.bind((str(SERVICE), 80))
    listener.listen()

    client = await connect(guest.pods[ONE.eni_id], SERVICE, 80)
    server, peer = await asyncio.get_running_loop().sock_accept(listener)

    assert peer[0] == str(ONE.ipv4[0])
    for one in (listener, client, server):
        one.close()


async def test_a_tag_in_the_frame_itself_stands_for_the_member_too(network, guest):
    gateway = PODS.cidr[-3]
    with packet_socket(guest.node, "eth0") as opened:
        opened.send(with_tag(arp(TWO, TWO.ipv4[0], gateway), TWO.vlan_id))
        tag, frame = receive_tagged(opened)

    assert tag == TWO.vlan_id
    assert frame[12:14] == b"\x08\x06"
    assert frame[:6].hex(":") == TWO.mac


async def test_unknown_tags_and_false_sources_are_dropped_and_counted(network, guest):
    packet = ip(ONE.ipv4[0], A.ipv4[0], 17, udp(1000, 2000))
    right = ip_frame(ONE, packet)
    false_mac, false_address = ip_frame(TWO, packet), ip(TWO.ipv4[0], A.ipv4[0], 17, udp(1, 2))
    with packet_socket(guest.node, "eth0") as opened:
        opened.send(with_tag(right, 7))
        opened.send(with_tag(right, 0))
        opened.send(with_tag(with_tag(right, TWO.vlan_id), ONE.vlan_id))
        opened.send(with_tag(false_mac, ONE.vlan_id))
        opened.send(with_tag(ip_frame(ONE, false_address), ONE.vlan_id))
        opened.send(right)

    assert await bad(network, TRUNK) == {DropReason.VLAN: 2, DropReason.SOURCE_MAC: 1}
    assert await bad(network, ONE) == {
        DropReason.VLAN: 1,
        DropReason.SOURCE_MAC: 1,
        DropReason.SOURCE_ADDRESS: 1,
    }


async def bad(network: Network, eni):
    """Return the drops of an ENI but for what a link says on its own when it comes up."""
    drops = dict((await network.fabric.counters())[eni.eni_id].drops)
    for at_the_start in (DropReason.MULTICAST, DropReason.UNANSWERED):  # of the link itself
        drops.pop(at_the_start, None)
    return drops


async def test_a_member_that_is_detached_is_silent_at_once_and_others_go_on(network, guest):
    assert guest.pods[ONE.eni_id].can_reach(A.ipv4[0])

    await apply(network, A, TRUNK, TWO)

    assert not guest.pods[ONE.eni_id].can_reach(A.ipv4[0], within_s=1)
    assert guest.pods[TWO.eni_id].can_reach(A.ipv4[0])
    assert await network.drops(TRUNK, DropReason.VLAN) >= 1


async def test_a_member_moves_to_another_trunk_with_mac_and_addresses(network, guest, tmp_path):
    other_trunk = port(21, vswitch=PODS, instance="i-21")
    node = await network.instance("i-21")
    moved = replace(ONE, trunk_id=other_trunk.eni_id, instance_id=node.id, vlan_id=9)
    await apply(network, A, TRUNK, TWO, other_trunk, moved)
    node.configure(other_trunk, PODS)
    folder = tmp_path / "other"
    folder.mkdir()

    with open_trunk(node, other_trunk, folder) as opened:
        pod = opened.join(moved)

        assert pod.can_reach(A.ipv4[0])
        assert network.instances["i-10"].can_reach(ONE.ipv4[0])


async def test_a_trunk_that_is_plugged_in_anew_has_its_members_again(network, guest):
    pod = guest.pods[ONE.eni_id]
    assert pod.can_reach(A.ipv4[0])
    await network.fabric.unbind(guest.node.id)

    await network.fabric.bind(guest.node.id, guest.node.netns)

    guest.node.configure(TRUNK, PODS)
    assert ONE.eni_id in await network.fabric.counters()
