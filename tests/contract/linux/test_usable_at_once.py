"""When ADD returns, every address of the pod can be used: none is waiting for its detection.

Bug class 29: duplicate address detection makes IPv6 addresses unusable for a second or more.
"""

from __future__ import annotations

import socket

import pytest

from terway.datapath.device import plan_take
from terway.datapath.exclusive import desired_device, desired_leg
from terway.datapath.facts import ENILink
from terway.datapath.plan import plan_attach
from terway.datapath.veth import desired_attachment
from terway.linux.kernel import open_kernel
from terway.model.address import IPPair
from tests.support.attachments import ENI, NODE_FACTS, attachment, dual_stack
from tests.support.iproute import ip_here
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
UNUSABLE = {"tentative", "optimistic", "dadfailed"}


def _waiting(pod: ScratchNetns) -> list[str]:
    """Return the addresses of a pod that cannot be used yet.

    The one that each link gives itself (fe80::) is nobody's to be reached at.
    """
    links = ip_here("-6", "address", netns=pod.path)
    addresses = [one for link in links for one in link["addr_info"] if one["scope"] != "link"]
    return [one["local"] for one in addresses if UNUSABLE & one.keys()]


def _can_bind(pod: ScratchNetns, address: object) -> bool:
    """Return whether a server can listen there: EADDRNOTAVAIL while it is tentative."""
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    with pod.entered(), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((str(address), 0))
        return True


async def test_a_pod_on_a_shared_eni_can_use_its_addresses_at_once(world, kernel, pod):
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    desired = desired_attachment(attachment(1, netns=pod.path), eni=eni, node=NODE_FACTS)

    await kernel.apply(plan_attach(desired, await kernel.read_attachment(desired)))

    assert _waiting(pod) == []
    assert all(_can_bind(pod, address) for address in desired.addresses)


async def test_a_pod_with_an_eni_of_its_own_can_use_its_addresses_at_once(pod):
    with scratch_netns("node") as node, node.entered():
        node.run(
            f"ip link add eth1 address {ENI.mac} type veth peer name port; ip link set port up"
        )
        mine = attachment(1, netns=pod.path)
        device = desired_device(mine, gateways=ENI.gateways, node=NODE_FACTS)
        leg = desired_leg(mine, node=NODE_FACTS)
        async with open_kernel() as kernel:
            take = plan_take(device, await kernel.read_device(device))
            await kernel.apply((*take, *plan_attach(leg, await kernel.read_attachment(leg))))

            assert _waiting(pod) == []
            assert all(_can_bind(pod, address) for address in mine.lease.addresses)
