"""What the kernel has no room for is an error that somebody sees, and it passes.

Bug class 54: a map that cannot be written to, and a pod that starts all the same.
"""

from __future__ import annotations

import struct

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_detach, plan_node
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.guard import Guards
from terway.linux.guard_contract import pack_owner
from terway.linux.kernel import Kernel
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import IPPair
from terway.model.errors import TransientError
from terway.model.network import AttachmentState, Sysctl
from terway.model.traffic import Guard
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.netns import NodeWithENI, ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
NOBODY = 1_000_000  # no link has a number from here on
OWNERS_MAX = 16384  # bpf/guard.bpf.c


async def _node(world: NodeWithENI, kernel: Kernel) -> ENILink:
    """Put the node in order, and return its ENI."""
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    assert plugged.mac is not None
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    host = (*desired_host(NODE_FACTS), *desired_eni(eni, NODE_FACTS))
    actual = await kernel.read_node(one for one in host if isinstance(one, Sysctl))
    await kernel.apply(plan_node(host, (), actual))
    return eni


async def _attach(kernel: Kernel, desired: AttachmentState) -> None:
    await kernel.apply(plan_attach(desired, await kernel.read_attachment(desired)))


def _fill(world: NodeWithENI, like: Guard) -> None:
    """Put links that are no more into the guards' map until it is full."""
    with world.node.entered(), open_route_socket() as sock:
        owners = Guards().open(sock).maps["owners"]
        for number in range(OWNERS_MAX - len(list(owners.keys()))):
            owners.update(struct.pack("=I", NOBODY + number), pack_owner(like))


async def test_a_pod_whose_guard_does_not_fit_is_refused_and_leaves_nothing(world, kernel, pod):
    # given a pod, and a map that is full
    eni = await _node(world, kernel)
    first = desired_attachment(attachment(1, netns=pod.path), eni=eni, node=NODE_FACTS)
    await _attach(kernel, first)
    [guard] = [one for one in first.node if isinstance(one, Guard)]
    _fill(world, guard)

    with scratch_netns("late") as late:
        second = desired_attachment(attachment(2, netns=late.path), eni=eni, node=NODE_FACTS)
        # when another one comes, then it is refused with the map's name
        with pytest.raises(TransientError, match="owners"):
            await _attach(kernel, second)
        assert not _sends(late)
        await kernel.apply(plan_detach(second, await kernel.read_attachment(second)))

        # and once what is gone has been forgotten, there is room, and the first kept its own
        await kernel.forget_gone_links()
        await _attach(kernel, second)
        for one in (first, second):
            assert verify(one, await kernel.read_attachment(one)) == ()
        assert late.pings("198.51.100.1")
        assert pod.pings("2001:db8::1")


def _sends(pod: ScratchNetns) -> bool:
    return pod.pings("198.51.100.1") or pod.pings("2001:db8::1")
