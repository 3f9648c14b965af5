"""Pods that are children of their ENIs, with the data path's programs inside, in real packets.

                    ┌─ eth1: one, sibling      behind each ENI the vSwitch's gateway, which sends
node ── ipvl_… ─────┤                          nothing back: what pods of this node reach, they
                    └─ eth2: other             reach within it
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni
from terway.datapath.ipvlan import desired_child, plan_host_children
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_detach, plan_node
from terway.datapath.verify import verify
from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.hooks import PRIORITY, STAMP_PRIORITY
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel, open_kernel
from terway.model.address import IPPair
from terway.model.network import AttachmentState, NetObject, NodeState, Sysctl
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.echo import echoed, echoing
from tests.support.netns import NodeWithENI, ScratchNetns, node_with_eni, scratch_netns

pytestmark = [
    pytest.mark.root,
    pytest.mark.guest,
    pytest.mark.asyncio(loop_scope="module"),
]

FACTS = replace(NODE_FACTS, has_children=True, has_datapath=True)
GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
_SMALL = {"flows": 1024, "choices": 1024}
_MUCH = 300_000  # bytes: more than a window, and more than all else that an ENI carries here
BEYOND = tuple(map(ip_address, ("198.51.100.1", "2001:db8::1")))
_SECOND = "ip link add eth2 type veth peer name port netns {}"
_ROUTER = (
    "ip link set port up; ip address add 192.168.63.253/32 dev port"
    "; ip address add fd00:0:0:2::fffd/128 dev port nodad"
)


@dataclass(slots=True)
class Site:
    """A node with two ENIs, whose pods are children of them."""

    world: NodeWithENI
    kernel: Kernel
    path: DataPath
    enis: tuple[ENILink, ...]
    host: tuple[NetObject, ...]
    held: dict[int, AttachmentState] = field(default_factory=dict)

    async def node(self) -> NodeState:
        of_pods = (one for pod in self.held.values() for one in pod.node)
        objects = (*self.host, *of_pods)
        return await self.kernel.read_node(one for one in objects if isinstance(one, Sysctl))

    async def attach(self, number: int, space: ScratchNetns, eni: int) -> AttachmentState:
        made = attachment(number, netns=space.path)
        desired = desired_child(made, eni=self.enis[eni], node=FACTS)
        self.held[number] = desired
        await self.mend(number)
        return desired

    async def mend(self, number: int) -> None:
        desired = self.held[number]
        actual = await self.kernel.read_attachment(desired)
        await self.kernel.apply(plan_attach(desired, actual))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """One for all tests: to have the programs verified takes seconds in the guest."""
    async with AsyncExitStack() as stack:
        world = stack.enter_context(node_with_eni())
        stack.enter_context(world.node.entered())
        second = stack.enter_context(scratch_netns("gateway"))
        kernel = await stack.enter_async_context(open_kernel())
        world.node.run(_SECOND.format(second.path))
        second.run(f"sysctl -qw net.ipv6.conf.default.accept_dad=0; {_ROUTER}")
        path = await kernel.open_datapath(Pins(Path(f"/sys/fs/bpf/terway-{os.getpid()}")), _SMALL)
        links = {one.name: one for one in await kernel.links()}
        enis = []
        for name in ("eth1", "eth2"):
            mac = links[name].mac
            assert mac is not None
            enis.append(ENILink(name=name, ifindex=links[name].ifindex, mac=mac, gateways=GATEWAYS))
        host = (*desired_node(FACTS), *(one for eni in enis for one in desired_eni(eni, FACTS)))
        made = Site(world, kernel, path, tuple(enis), host)
        await kernel.apply(plan_host_children(enis, await kernel.links(), FACTS))
        await kernel.apply(plan_node(host, (), await made.node()))
        path.know_node([*FACTS.addresses])
        stack.callback(path.object.close)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(site: Site) -> AsyncIterator[tuple[ScratchNetns, ...]]:
    """Two pods on the first ENI, and one on the second."""
    with ExitStack() as stack:
        spaces = tuple(stack.enter_context(scratch_netns("pod")) for _ in range(3))
        for number, eni in ((1, 0), (2, 0), (3, 1)):
            await site.attach(number, spaces[number - 1], eni)
        yield spaces


async def test_the_kernel_is_asked_by_making_a_child_and_this_one_does(site):
    assert await site.kernel.ipvlan_lacks() == ""


@pytest.mark.parametrize(("source", "target"), [(1, 2), (1, 3), (3, 2)])
async def test_pods_of_one_node_reach_each_other(site, pods, source, target):
    for address in dual_stack(target):
        assert pods[source - 1].pings(address), address


async def test_pods_reach_the_vpc_and_are_reached_from_it(site, pods):
    for address in (*GATEWAYS, *BEYOND):
        assert pods[0].pings(address), address
    for address in dual_stack(1):
        site.world.gateway.run(f"ip route replace {address} dev port")
        assert site.world.gateway.pings(address), address


@pytest.mark.parametrize("number", [1, 3])
async def test_a_pod_and_its_node_reach_each_other(site, pods, number):
    for address in FACTS.addresses:
        assert pods[number - 1].pings(address), address
    for address in dual_stack(number):
        assert site.world.node.pings(address), address


async def test_connections_within_the_node_do_not_leave_it(site, pods):
    """From a pod to its sibling, to a pod of another ENI, and to the node, by TCP."""
    before = _sent_bytes(site)

    ends = ((pods[1], dual_stack(2)), (pods[2], dual_stack(3)), (site.world.node, FACTS.addresses))
    for space, addresses in ends:
        with echoing(space):
            for address in addresses:
                assert echoed(pods[0], address, _MUCH) == _MUCH, address

    assert _sent_bytes(site) - before < _MUCH


def _sent_bytes(site: Site) -> int:
    """Return how many bytes have left by the ENIs."""
    shown = (json.loads(site.world.node.run(f"ip -j -s link show {eni.name}")) for eni in site.enis)
    return sum(one["stats64"]["tx"]["bytes"] for [one] in shown)


async def test_a_pod_cannot_send_from_an_address_that_is_not_its_own(site, pods):
    pods[0].run("ip address add 192.168.32.99/32 dev eth0; ip address add 203.0.113.9/32 dev lo")
    site.world.gateway.run("ip route replace 203.0.113.9 dev port")

    for forged in ("192.168.32.99", "203.0.113.9"):
        assert not pods[0].pings("198.51.100.1", options=f"-I {forged}", wait_s=2)
        assert not pods[0].pings("192.168.32.2", options=f"-I {forged}", wait_s=2)
    pods[0].run("ip address delete 192.168.32.99/32 dev eth0")
    assert pods[0].pings("198.51.100.1")


async def test_what_was_made_verifies_and_a_second_plan_is_empty(site, pods):
    for desired in site.held.values():
        actual = await site.kernel.read_attachment(desired)
        assert verify(desired, actual) == ()
        assert plan_attach(desired, actual) == ()
    assert plan_node(site.host, site.held.values(), await site.node()) == ()


@pytest.mark.parametrize(
    "damage",
    [
        f"tc filter delete dev eth0 egress pref {STAMP_PRIORITY}",
        f"tc filter delete dev eth0 ingress pref {PRIORITY}",
        "tc qdisc delete dev eth0 clsact",
    ],
    ids=["the stamp", "the program", "both"],
)
async def test_programs_that_are_taken_from_a_pod_are_put_back(site, pods, damage):
    pods[0].run(damage)
    assert verify(site.held[1], await site.kernel.read_attachment(site.held[1]))

    await site.mend(1)

    assert verify(site.held[1], await site.kernel.read_attachment(site.held[1])) == ()
    assert pods[0].pings("192.168.32.3")


async def test_a_pod_without_its_stamp_reaches_nobody(site, pods):
    pods[0].run(f"tc filter delete dev eth0 egress pref {STAMP_PRIORITY}")

    assert not pods[0].pings("198.51.100.1", wait_s=2)
    await site.mend(1)
    assert pods[0].pings("198.51.100.1")


async def test_a_pod_that_is_gone_is_known_to_nobody_and_the_others_go_on(site, pods):
    await site.kernel.undo(site.held.pop(2), plan_detach)

    assert not pods[0].pings("192.168.32.2", wait_s=2)
    for address in (*dual_stack(3), *FACTS.addresses, *BEYOND):
        assert pods[0].pings(address), address
    assert plan_node(site.host, site.held.values(), await site.node()) == ()
    await site.attach(2, pods[1], 0)
