"""A pod that is an IPvlan child of its ENI, built for real: packets flow, faults are mended.

Without the data path's programs: what the layout alone does. Pods of one node reach each other by
the vSwitch's gateway then, which this node's VPC sends back to where they came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.ipvlan import desired_child, plan_host_children
from terway.datapath.plan import plan_attach, plan_detach, plan_node, unborn
from terway.datapath.verify import verify
from terway.linux.kernel import Kernel
from terway.model.address import IPPair
from terway.model.errors import ConflictError, UsageError
from terway.model.network import AttachmentState, NetObject, NodeState, Sysctl
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.iproute import ip_here
from tests.support.netns import NodeWithENI, ScratchNetns, scratch_netns

pytestmark = [pytest.mark.root, pytest.mark.guest]

FACTS = replace(NODE_FACTS, has_children=True)
GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
BEYOND = ("198.51.100.1", "2001:db8::1")


@dataclass(frozen=True, slots=True)
class Site:
    """A node in order, and what its planners need to know."""

    world: NodeWithENI
    kernel: Kernel
    eni: ENILink
    host: tuple[NetObject, ...]

    def desired(self, number: int, space: ScratchNetns, **changes: str) -> AttachmentState:
        made = attachment(number, netns=space.path, **changes)  # type: ignore[arg-type]
        return desired_child(made, eni=self.eni, node=FACTS)

    async def node(self, *pods: AttachmentState) -> NodeState:
        objects = (*self.host, *(one for pod in pods for one in pod.node))
        return await self.kernel.read_node(one for one in objects if isinstance(one, Sysctl))

    async def attach(self, desired: AttachmentState) -> AttachmentState:
        actual = await self.kernel.read_attachment(desired)
        await self.kernel.apply(plan_attach(desired, actual))
        return desired

    async def differences(self, desired: AttachmentState) -> list[str]:
        return [str(one) for one in verify(desired, await self.kernel.read_attachment(desired))]

    async def undo(self, desired: AttachmentState) -> None:
        await self.kernel.undo(desired, plan_detach)


@pytest.fixture
async def site(world: NodeWithENI, kernel: Kernel) -> Site:
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    assert plugged.mac is not None
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    made = Site(world, kernel, eni, (*desired_host(FACTS), *desired_eni(eni, FACTS)))
    await kernel.apply(plan_host_children((eni,), await kernel.links(), FACTS))
    await kernel.apply(plan_node(made.host, (), await made.node()))
    # the VPC knows which ENI an address is of, and does not ask
    world.gateway.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for number in (1, 2):
        for one in dual_stack(number):
            world.gateway.run(f"ip route add {one} dev port")
    return made


@pytest.fixture
def other_pod() -> Iterator[ScratchNetns]:
    with scratch_netns("pod") as made:
        yield made


async def test_packets_flow_as_soon_as_the_pod_is_attached(site, pod):
    desired = await site.attach(site.desired(1, pod))

    for address in (*FACTS.addresses, *site.eni.gateways, *BEYOND):
        assert pod.pings(address), address
    for address in desired.addresses:
        assert site.world.node.pings(address), address
        assert site.world.gateway.pings(address), address


async def test_children_of_one_eni_have_its_mac_and_addresses_of_their_own(site, pod, other_pod):
    await site.attach(site.desired(1, pod))
    await site.attach(site.desired(2, other_pod))

    for space in (pod, other_pod):
        assert site.eni.mac in space.run("ip link show eth0")
        assert "ipvlan" in space.run("ip -d link show eth0")
    locals_ = {space.run("ip -6 -br address show eth0 scope link") for space in (pod, other_pod)}
    assert len(locals_) == 2


async def test_an_attachment_verifies_and_a_second_plan_is_empty(site, pod):
    desired = await site.attach(site.desired(1, pod))

    actual = await site.kernel.read_attachment(desired)
    assert verify(desired, actual) == ()
    assert plan_attach(desired, actual) == ()
    assert plan_node(site.host, (desired,), await site.node(desired)) == ()


async def test_an_attachment_can_be_made_without_reading_first(site, pod):
    desired = site.desired(1, pod)

    actual = await site.kernel.apply_and_read(plan_attach(desired, unborn(desired)), desired)

    assert verify(desired, actual) == ()


async def test_an_interface_that_is_not_ours_is_left_alone(site, pod):
    pod.run("ip link add eth0 type dummy")
    desired = site.desired(1, pod)

    with pytest.raises(ConflictError) as caught:
        await site.kernel.apply(plan_attach(desired, unborn(desired)))
    assert caught.value.code == "EEXIST"
    with pytest.raises(UsageError, match="exists already"):
        await site.attach(desired)
    await site.undo(desired)

    assert "dummy" in pod.run("ip -d link show eth0")


@pytest.mark.parametrize(
    "damage",
    [
        "ip address delete 192.168.32.1/32 dev eth0",
        "ip route delete default",
        "ip -6 route delete default",
        "ip neighbour delete 192.168.0.10 dev eth0",
        "ip link set eth0 down",
    ],
)
async def test_what_is_changed_in_the_pod_is_found_and_mended(site, pod, damage):
    desired = await site.attach(site.desired(1, pod))
    pod.run(damage)
    assert await site.differences(desired)

    await site.attach(desired)

    assert await site.differences(desired) == []
    assert pod.pings("198.51.100.1")


async def test_what_is_changed_at_the_host_child_is_mended_for_all_pods(site, pod):
    desired = await site.attach(site.desired(1, pod))
    child = desired.birth.host.name
    site.world.node.run(f"ip link set {child} down; ip route flush dev {child}")

    await site.kernel.apply(plan_node(site.host, (desired,), await site.node(desired)))

    assert plan_node(site.host, (desired,), await site.node(desired)) == ()
    assert pod.pings("192.168.0.10")


async def test_a_deleted_pods_route_by_the_host_child_is_swept_away(site, pod, other_pod):
    """Bug class 17: what is left of pods that are gone."""
    one = await site.attach(site.desired(1, pod))
    await site.attach(site.desired(2, other_pod))

    await site.kernel.apply(plan_node(site.host, (one,), await site.node(one)))

    listed = site.world.node.run("ip route; ip rule; ip -6 route; ip -6 rule").split()
    assert not {str(address) for address in dual_stack(2)} & {*listed}
    assert {str(address) for address in dual_stack(1)} <= {*listed}


async def test_undoing_takes_the_child_out_of_the_pod_and_every_trace_from_the_node(site, pod):
    before = _traces(site)
    desired = await site.attach(site.desired(1, pod))

    await site.undo(desired)
    await site.undo(desired)

    assert "eth0" not in pod.run("ip -br link")
    assert _traces(site) ^ before == set()


def _traces(site: Site) -> set[str]:
    """Return rules, routes and links.

    Not which link has a carrier, nor the kernel's own routes: link-local ones follow a carrier.
    """
    said = site.world.node.run("ip rule; ip route show table all; ip -6 rule")
    lines = {line for line in said.splitlines() if "proto kernel" not in line}
    links = {one["ifname"] for one in ip_here("link", netns=site.world.node.path)}
    return {line.replace(" linkdown", "") for line in lines} | links


async def test_undoing_leaves_the_child_of_another_pod_at_the_same_path(site, pod):
    """Bug class 5: a late DEL, and a path that leads to somebody else by now."""
    earlier = site.desired(1, pod, container_id="earlier")
    later = await site.attach(site.desired(1, pod, container_id="later"))

    await site.undo(earlier)

    assert (await site.kernel.read_attachment(later)).alias == later.alias
    assert pod.pings("198.51.100.1")


async def test_an_address_can_be_given_again_as_soon_as_it_was_undone(site, pod, other_pod):
    await site.undo(await site.attach(site.desired(1, pod)))

    await site.attach(site.desired(1, other_pod, container_id="next"))

    assert other_pod.pings("198.51.100.1")
    assert other_pod.pings("2001:db8::1")


async def test_an_eni_that_is_unplugged_takes_children_along_and_undoing_still_works(site, pod):
    desired = await site.attach(site.desired(1, pod))

    site.world.node.run("ip link delete eth1")

    assert "eth0" not in pod.run("ip -br link")
    actual = await site.kernel.read_attachment(desired)
    assert (actual.is_paired, actual.alias) == (False, "")
    await site.undo(desired)
    assert "192.168.32.1" not in site.world.node.run("ip rule; ip route").split()
