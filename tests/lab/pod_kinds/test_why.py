"""`terway-cli why` between pods of all kinds: the hops by name, and which one stops a packet.

What it says is held against packets: who is said to arrive does, and who is not does not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from terway.lab.cloud.provision import create_security_group
from terway.lab.cloud.records import ENIRecord
from terway.lab.world.lab import Lab
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from tests.lab.test_cli import nobody_mends, why
from tests.support.pod_kinds import NODE_OF, Interface, PodKinds
from tests.support.policy_objects import NOBODY, network_policy
from tests.support.wires import Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

PORT = 7600
# What root may do by bpf(2): forget whose tag an address has.
FORGET_TAG = """
import sys
from ipaddress import ip_address
from terway.linux import bpf_find
from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.trunk import programs
from terway.linux.trunk_contract import pack_source
with open_route_socket() as sock:
    numbers = [
        one.number
        for found in sock.query(link.all_links())
        for one in programs()[0].attached(sock, found.ifindex)
    ]
for number in numbers:
    with bpf_find.program_maps(number) as maps:
        maps["sources"].delete(pack_source(ip_address(sys.argv[1])))
"""

LEAVES = ("pod: link and address", "pod: route", "node: host link", "node: source guard")
CROSSES = ("VPC: source check", "VPC: security group, out", "VPC: receiving ENI")
ENTERS = ("VPC: security group, in", "other: instance", "other: node")
TO_API = (*ENTERS, "other: pod", "policies: verdict")
INSIDE = (*LEAVES, "node: host link", "node: source guard", "pod: link and address")
TAGGED = (*LEAVES, "node: tag", *CROSSES)
WALKS = {
    # a member: a tag where it leaves the node, and only there
    ("member", "near"): INSIDE,
    ("member", "members.eth1"): INSIDE,
    ("member", "far"): (*TAGGED, *TO_API),
    ("member", "other"): (*TAGGED, *TO_API),
    ("member", "whole"): (*TAGGED, *TO_API),
    ("member", "pair.eth1"): (*TAGGED, *ENTERS),
    ("members", "far"): (*TAGGED, *TO_API),
    # to members
    ("near", "member"): INSIDE,
    ("far", "member"): (*LEAVES, *CROSSES, *TO_API),
    ("far", "members.eth1"): (*LEAVES, *CROSSES, *TO_API),
    # whole ENIs, and several shared ones
    ("whole", "member"): ("pod: link and address", "pod: route", *CROSSES, *TO_API),
    ("whole", "far"): ("pod: link and address", "pod: route", *CROSSES, *TO_API),
    ("pair", "near"): (*LEAVES, *CROSSES, *TO_API),
    ("pair", "other"): INSIDE,
}
# Which differ where programs lead packets past the node's stack.
BY_PROGRAMS = {("member", "near"), ("member", "far"), ("far", "members.eth1"), ("whole", "member")}


def interface(kinds: PodKinds, text: str) -> Interface:
    """Return an interface by `pod`, or `pod.ethN`."""
    pod, _, link = text.partition(".")
    return kinds.interface(pod, link or "eth0")


async def walked(kinds: PodKinds, source: str, target: str) -> list[tuple[str, str, str]]:
    """Return the hops of a walk: where and what, the state, the text."""
    end = interface(kinds, target)
    name = end.pod.name if end.is_first else str(end.addresses[Family.V4])
    words = (source, f"{name}:{PORT}", "--proto", "udp", "--family", "4")
    hops = await why(kinds.made.lab, *words, node=NODE_OF[source])
    return [(f"{_where(hop['where'])}: {hop['what']}", hop["state"], hop["text"]) for hop in hops]


def _where(text: str) -> str:
    if text.startswith("pod "):
        return "pod"
    return "other" if text in {*NODE_OF.values()} else text


def is_in_order(wanted: tuple[str, ...], names: list[str]) -> bool:
    """Return whether these come among the others, in this order."""
    rest = iter(names)
    return all(one in rest for one in wanted)


async def test_a_walk_names_the_hops_of_the_kinds_of_its_ends(
    kinds: PodKinds, wires: Wires
) -> None:
    await kinds.policy.policies()
    chosen = [one for one in WALKS if not kinds.is_ebpf or one in BY_PROGRAMS]
    few = asyncio.Semaphore(3)

    async def walk(source: str, target: str) -> list[tuple[str, str, str]]:
        async with few:
            return await walked(kinds, source, target)

    found = await asyncio.gather(*(walk(*one) for one in chosen))

    for (source, target), hops in zip(chosen, found, strict=True):
        names, wanted = [name for name, _, _ in hops], WALKS[source, target]
        assert [one for one in hops if one[1] == "FAIL"] == []
        assert is_in_order(wanted, names), (source, target, names)
        assert ("node: tag" in names) is ("node: tag" in wanted), (source, target, names)
        one, other = (interface(kinds, end).end(Family.V4) for end in (source, target))
        assert await wires.passes(one, other, PORT)


@asynccontextmanager
async def without_tag(kinds: PodKinds) -> AsyncIterator[None]:
    """Have the trunk's program forget a member, and nobody there to mend it."""
    node, member = kinds.made.lab.node("node-1"), kinds.interface("member")
    async with nobody_mends(kinds.made.lab):
        await node.exec(sys.executable, "-c", FORGET_TAG, str(member.addresses[Family.V4]))
        yield
    await mend(kinds)


@asynccontextmanager
async def without_device(kinds: PodKinds) -> AsyncIterator[None]:
    """Have the member's link down, and nobody there to mend it."""
    member = kinds.interface("member")
    async with nobody_mends(kinds.made.lab):
        await member.pod.exec("ip", "link", "set", "eth0", "down")
        yield
    await mend(kinds)


async def mend(kinds: PodKinds) -> None:
    """Have terwayd look at everything now, as it does when it starts."""
    await kinds.made.lab.node("node-1").restart_agent()
    async with asyncio.timeout(PATIENCE_S):
        while not await kinds.pods["member"].can_reach(kinds.pods["far"], timeout_s=0.5):
            pass


@asynccontextmanager
async def closed_group(kinds: PodKinds) -> AsyncIterator[None]:
    """Have the member's ENI in a security group that lets nobody in."""
    lab, address = kinds.made.lab, kinds.interface("member").addresses[Family.V4]
    group = create_security_group(lab.cloud, lab.ground.vpc_id, name="closed")
    eni = next(one for one in lab.cloud.world.state.enis.values() if address in one.ipv4)
    await put(lab, replace(eni, security_group_ids=(group,)))
    yield
    await put(lab, eni)


async def put(lab: Lab, eni: ENIRecord) -> None:
    """Have the cloud and the fabric take an ENI as this."""
    lab.cloud.world.state.put(eni)
    await lab.fabric.apply(lab.cloud.vpc_state())


@asynccontextmanager
async def closed_policies(kinds: PodKinds) -> AsyncIterator[None]:
    """Have policies that let nobody in to some pods, and nothing out of another."""
    shut = [network_policy(one, selects={"app": one}, ingress=NOBODY) for one in SHUT]
    mute = network_policy("mute", selects={"app": "other"}, egress=NOBODY)
    await kinds.policy.policies(*shut, mute)
    yield
    await kinds.policy.policies()


Harm = Callable[[PodKinds], AbstractAsyncContextManager[None]]
SHUT = ("member", "members", "whole", "pair")
ENDS: dict[Harm, dict[tuple[str, str], str]] = {
    without_tag: {("member", "far"): "node: tag"},
    without_device: {("member", "far"): "pod: link", ("near", "member"): "pod: link"},
    closed_group: {("far", "member"): "VPC: security group, in"},
    closed_policies: {
        ("far", "member"): "policies: verdict",
        ("far", "members.eth1"): "policies: verdict",
        ("near", "members.eth1"): "policies: verdict",
        ("far", "pair.eth1"): "policies: verdict",
        ("member", "whole"): "policies: verdict",
        ("other", "far"): "policies: verdict",
    },
}


@pytest.mark.parametrize("harm", ENDS, ids=lambda one: one.__name__)
async def test_a_walk_ends_where_the_packet_does(kinds: PodKinds, harm: Harm) -> None:
    await kinds.policy.policies()
    async with harm(kinds):
        ends = ENDS[harm]
        found = await asyncio.gather(*(walked(kinds, *one) for one in ends))

        for (source, target), hops in zip(ends, found, strict=True):
            assert hops[-1][:2] == (ends[source, target], "FAIL"), (source, target, hops[-1])
            address = interface(kinds, target).addresses[Family.V4]
            assert not await kinds.pods[source].can_reach(address, timeout_s=0.5)
