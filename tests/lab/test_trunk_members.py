"""Pods that are member ENIs, on the fabric with real packets, by policy routing and by eBPF."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terway.lab.vpc.contract import DropReason, pack_mac
from terway.lab.vpc.oracle.fabric import with_tag
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.guard import read_drops
from terway.linux.guard_contract import GuardReason
from terway.linux.kernel import open_kernel
from terway.linux.netlink.socket import open_route_socket
from terway.linux.trunk import read_losses
from terway.linux.trunk_contract import TrunkLoss
from terway.model.address import IPAddress
from terway.model.interface import Bandwidth, Mode
from terway.model.traffic import TokenBucket, TrunkMember
from tests.support.frames import ip, udp
from tests.support.instances import vpc_state
from tests.support.trunk_guest import packet_socket
from tests.support.trunk_node import (
    ELSEWHERE,
    NODE_PORT,
    ONE,
    PORTS,
    TRUNK,
    TWO,
    VSWITCHES,
    TrunkNode,
    trunk_node,
)
from tests.support.vpc_network import connect, listen, transfer

pytestmark = pytest.mark.root


@pytest.fixture(params=[Mode.VETH, Mode.DATAPATHV2], ids=lambda one: one.value)
async def node(request, tmp_path: Path) -> AsyncIterator[TrunkNode]:
    async with trunk_node(tmp_path, request.param) as opened:
        yield opened


def both(eni) -> tuple[IPAddress, IPAddress]:
    return eni.ipv4[0], eni.ipv6[0]


async def test_a_member_reaches_the_vpc_and_is_reached_in_both_families(node):
    """Bug class 31: a tag is no matter of one family."""
    pod = await node.add("one", ONE)

    for address in both(ELSEWHERE):
        assert pod.can_reach(address)
    for address in both(ONE):
        assert node.elsewhere.can_reach(address)
    assert (await node.fabric.fabric.counters())[ONE.eni_id].egress_packets


async def test_the_trunk_carries_its_own_pods_beside_members(node):
    own, member = await node.add("own", TRUNK), await node.add("one", ONE)

    assert own.can_reach(ELSEWHERE.ipv4[0])
    assert node.elsewhere.can_reach(TRUNK.ipv4[-1])
    assert member.can_reach(ELSEWHERE.ipv4[0])


async def test_pods_of_a_node_reach_each_other_inside_it_whichever_eni_they_have(node):
    pods = {eni.eni_id: await node.add(eni.eni_id, eni) for eni in (ONE, TWO, TRUNK)}
    before = await node.fabric.fabric.counters()

    assert pods[ONE.eni_id].can_reach(TWO.ipv4[0])
    assert pods[TWO.eni_id].can_reach(ONE.ipv6[0])
    assert pods[ONE.eni_id].can_reach(TRUNK.ipv4[-1])

    after = await node.fabric.fabric.counters()
    assert after[ONE.eni_id].egress_packets == before[ONE.eni_id].egress_packets


async def test_the_node_reaches_a_member_and_is_reached_by_it(node):
    pod = await node.add("one", ONE)

    for address in both(NODE_PORT):
        assert pod.can_reach(address)
    for address in both(ONE):
        assert node.fabric.instances["i-node"].can_reach(address)


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
async def test_large_segments_cross_a_tag_unharmed_both_ways(node, version):
    """Bug class 31, with segments that the kernel cuts behind the tag."""
    pod, address = await node.add("one", ONE), both(ONE)[version]
    listener = await listen(pod, address, 80)
    client = await connect(node.elsewhere, address, 80)
    server, _ = await asyncio.get_running_loop().sock_accept(listener)
    data = os.urandom(4 << 20)

    assert await transfer(client, server, data) == data
    assert await transfer(server, client, data) == data

    for one in (listener, client, server):
        one.close()


async def test_a_tag_takes_nothing_of_the_payload(node):
    """Bug class 32: packets as large as the ENI's MTU pass, with a tag on them."""
    pod = await node.add("one", ONE)

    assert pod.can_reach(ELSEWHERE.ipv4[0], size=1472, df=True)
    assert node.elsewhere.can_reach(ONE.ipv6[0], size=1452, df=True)


def losses_of(link: str) -> dict[TrunkLoss, int]:
    with open_route_socket() as sock:
        return dict(read_losses(sock, link) or {})


async def test_what_is_tagged_for_nobody_here_is_lost_and_counted(node):
    await node.add("one", ONE)

    assert not node.elsewhere.can_reach(TWO.ipv4[0], within_s=1)

    async with asyncio.timeout(PATIENCE_S):
        while not (losses := losses_of("eth1")):  # noqa: ASYNC110 - nobody tells when it counts
            await asyncio.sleep(0)
    assert losses.keys() == {TrunkLoss.UNKNOWN_VLAN}


def reasons(link: str) -> set[GuardReason]:
    """Return why packets of a pod were dropped at its link."""
    with open_route_socket() as sock:
        drops = read_drops(sock, link) or {}
    return {why for why in drops if drops[why]}


async def test_a_pod_sends_from_no_address_mac_or_tag_but_its_own(node):
    pod = await node.add("one", ONE)
    await node.add("two", TWO)
    before = await node.fabric.fabric.counters()
    gateway = node.network._desired(next(iter(node.held.values()))).birth
    right = ip(ONE.ipv4[0], ELSEWHERE.ipv4[0], 17, udp(1, 2))
    forged = ip(TWO.ipv4[0], ELSEWHERE.ipv4[0], 17, udp(1, 2))
    ends = pack_mac(gateway.host.mac) + pack_mac(gateway.peer.mac)
    with packet_socket(pod, "eth0") as opened:
        opened.send(ends + b"\x08\x00" + forged)
        opened.send(pack_mac(gateway.host.mac) + pack_mac(ONE.mac) + b"\x08\x00" + right)
        opened.send(with_tag(ends + b"\x08\x00" + right, TWO.vlan_id))

    wanted = {GuardReason.SOURCE_ADDRESS, GuardReason.SOURCE_MAC, GuardReason.VLAN}
    async with asyncio.timeout(PATIENCE_S):  # frames may wait for ksoftirqd after they were sent
        while not reasons(gateway.host.name) >= wanted:  # noqa: ASYNC110
            await asyncio.sleep(0)
    after = await node.fabric.fabric.counters()
    assert after[TWO.eni_id].egress_packets == before[TWO.eni_id].egress_packets
    assert not after[ONE.eni_id].drops.get(DropReason.SOURCE_ADDRESS)


@pytest.mark.parametrize("hook", ["ingress", "egress"])
async def test_programs_that_somebody_took_from_the_trunk_are_missed_and_mended(node, hook):
    """Bug class 27."""
    pod = await node.add("one", ONE)
    node.sh(f"tc filter del dev eth1 {hook}")
    attachment = next(iter(node.held.values()))
    assert await node.network.differences(attachment, pod_mac=None)

    await node.sweep()

    assert await node.network.differences(attachment, pod_mac=None) == ()
    assert pod.can_reach(ELSEWHERE.ipv4[0])


async def test_another_terwayd_finds_members_and_connections_as_they_are(node):
    """Bug class 46: a restart is seen by no connection."""
    pod = await node.add("one", ONE)
    before = node.sh("tc filter show dev eth1 egress; tc filter show dev eth1 ingress")
    attachment = next(iter(node.held.values()))

    async with open_kernel() as kernel:
        state = await kernel.read_attachment(node.network._desired(attachment))

    members = [one for one in state.node if isinstance(one, TrunkMember)]
    assert [one.vlan_id for one in members] == [ONE.vlan_id]
    assert node.sh("tc filter show dev eth1 egress; tc filter show dev eth1 ingress") == before
    assert pod.can_reach(ELSEWHERE.ipv4[0])


async def test_a_member_that_went_leaves_nothing_and_others_go_on(node):
    await node.add("one", ONE)
    two = await node.add("two", TWO)

    await node.delete("one")
    await node.sweep()

    assert not node.elsewhere.can_reach(ONE.ipv4[0], within_s=1)
    assert two.can_reach(ELSEWHERE.ipv6[0])
    await node.delete("two")
    await node.sweep()
    assert "trunk" not in node.sh("tc filter show dev eth1 egress; tc filter show dev eth1 ingress")


async def test_an_address_that_a_member_had_is_not_tagged_when_it_is_somebody_elses(node):
    """Bug class 47: what a lost DEL left is forgotten by the sweep."""
    await node.add("one", ONE)
    await node.add("two", TWO)
    node.held.pop(next(iter(node.held)))

    await node.sweep()

    pushed = node.kernel._traffic.trunks._programs[0].maps["sources"]
    assert pushed.count() == len(both(TWO))


async def test_a_member_is_held_to_limits_in_both_directions(node):
    limits = Bandwidth(ingress=1_000_000, egress=2_000_000)
    await node.add("one", ONE, bandwidth=limits)

    attachment = next(iter(node.held.values()))
    kinds = {type(one) for one in node.network._desired(attachment).node}
    assert TokenBucket in kinds
    assert await node.network.differences(attachment, pod_mac=None) == ()


def forwarded(node: TrunkNode) -> int:
    """Return how many packets the node's stack has forwarded, of both families."""
    v4 = node.sh("grep ^Ip: /proc/net/snmp").splitlines()
    names, values = (line.split() for line in v4)
    v6 = node.sh("grep Ip6OutForwDatagrams /proc/net/snmp6").split()[1]
    return int(values[names.index("ForwDatagrams")]) + int(v6)


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
async def test_where_there_are_programs_they_lead_a_member_past_the_nodes_stack(node, version):
    pod = await node.add("one", ONE)
    assert pod.can_reach(both(ELSEWHERE)[version])
    before = forwarded(node)

    assert pod.can_reach(both(ELSEWHERE)[version])

    by_the_stack = forwarded(node) - before
    assert bool(by_the_stack) is (node.mode is Mode.VETH)
    assert await node.sweep() == ()


async def test_a_trunk_without_members_is_an_eni_as_others(node):
    await node.sweep()
    before = node.sh("tc filter show dev eth1 ingress; tc filter show dev eth1 egress")
    await node.add("one", ONE)

    await node.delete("one")
    await node.sweep()

    assert node.sh("tc filter show dev eth1 ingress; tc filter show dev eth1 egress") == before
    own = await node.add("own", TRUNK)
    assert own.can_reach(ELSEWHERE.ipv4[0])
    assert await node.sweep() == ()


async def test_a_trunk_that_was_plugged_again_carries_its_members_after_one_look(node):
    pod = await node.add("one", ONE)
    vswitches = tuple(VSWITCHES.values())
    await node.fabric.fabric.apply(vpc_state(ELSEWHERE, NODE_PORT, vswitches=vswitches))
    await node.network._enis.refresh([TRUNK.mac])
    await node.sweep()

    await node.fabric.fabric.apply(vpc_state(*PORTS, vswitches=vswitches))
    await node.network._enis.refresh([TRUNK.mac])
    await node.sweep()

    assert pod.can_reach(ELSEWHERE.ipv4[0])
    assert node.elsewhere.can_reach(ONE.ipv6[0])
