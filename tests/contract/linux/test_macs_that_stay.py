"""Links are born with a MAC of ours, so nobody has a reason to give them another.

Bug class 28: udev's MACAddressPolicy=persistent changes MACs that the kernel drew by lot
(addr_assign_type 1), and what was told to neighbours is no longer true. systemd.link(5): one that
was set (3) is left alone.
"""

from __future__ import annotations

import pytest

from terway.datapath.exclusive import desired_leg
from terway.datapath.facts import ENILink
from terway.datapath.plan import plan_attach
from terway.datapath.veth import desired_attachment
from terway.model.address import IPPair
from terway.model.network import AttachmentState
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.netns import ScratchNetns

pytestmark = pytest.mark.root

SET = "3"  # NET_ADDR_SET of include/uapi/linux/netdevice.h
GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)


def _assigned(netns: ScratchNetns, link: str) -> str:
    """Return how the link got its MAC: sysfs shows the namespace that it was mounted in."""
    look = f"mount -t sysfs sysfs /sys && cat /sys/class/net/{link}/addr_assign_type"
    return netns.run(f"unshare --mount sh -ec '{look}'").strip()


async def _desired(kernel, path: str, *, is_exclusive: bool) -> AttachmentState:
    mine = attachment(1, netns=path)
    if is_exclusive:
        return desired_leg(mine, node=NODE_FACTS)
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    return desired_attachment(mine, eni=eni, node=NODE_FACTS)


@pytest.mark.parametrize("is_exclusive", [False, True], ids=["shared", "second leg"])
async def test_both_ends_of_a_pods_veth_have_macs_that_were_set(world, kernel, pod, is_exclusive):
    desired = await _desired(kernel, pod.path, is_exclusive=is_exclusive)

    await kernel.apply(plan_attach(desired, await kernel.read_attachment(desired)))

    assert _assigned(world.node, desired.birth.host.name) == SET
    assert _assigned(pod, desired.birth.peer.name) == SET
