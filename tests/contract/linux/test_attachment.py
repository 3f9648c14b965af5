"""A pod's network stack built for real: packets flow, faults are mended, nothing stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_detach, plan_node, unborn
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.kernel import Kernel
from terway.model.address import IPPair
from terway.model.errors import ConflictError, UsageError
from terway.model.network import (
    NODE,
    AttachmentState,
    DeleteLink,
    NetObject,
    NodeState,
    Put,
    Sysctl,
)
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.netns import NodeWithENI, ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)


@dataclass(frozen=True, slots=True)
class Site:
    """A node in order, and what its planners need to know."""

    world: NodeWithENI
    kernel: Kernel
    eni: ENILink
    host: tuple[NetObject, ...]

    def desired(self, number: int, space: ScratchNetns, **changes: str) -> AttachmentState:
        made = attachment(number, netns=space.path, **changes)  # type: ignore[arg-type]
        return desired_attachment(made, eni=self.eni, node=NODE_FACTS)

    async def node(self, *pods: AttachmentState) -> NodeState:
        objects = (*self.host, *(one for pod in pods for one in pod.node))
        return await self.kernel.read_node(one for one in objects if isinstance(one, Sysctl))

    async def attach(self, desired: AttachmentState) -> AttachmentState:
        actual = await self.kernel.read_attachment(desired)
        await self.kernel.apply(plan_attach(desired, actual))
        return desired

    async def detach(self, desired: AttachmentState) -> None:
        actual = await self.kernel.read_attachment(desired)
        await self.kernel.apply(plan_detach(desired, actual))

    async def differences(self, desired: AttachmentState) -> list[str]:
        return [str(one) for one in verify(desired, await self.kernel.read_attachment(desired))]

    async def is_gone(self, desired: AttachmentState) -> bool:
        """Wait for the reaper, then return whether the host link is gone."""
        await self.kernel.apply([DeleteLink(name="nobody", now=True)])
        # a doomed link is deleted by whoever reads it first
        await self.kernel.read_attachment(desired)
        return desired.birth.host.name not in {one.name for one in await self.kernel.links()}


@pytest.fixture
async def site(world: NodeWithENI, kernel: Kernel) -> Site:
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    assert plugged.mac is not None
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    made = Site(world, kernel, eni, (*desired_host(NODE_FACTS), *desired_eni(eni, NODE_FACTS)))
    await kernel.apply(plan_node(made.host, (), await made.node()))
    return made


@pytest.fixture
def other_pod() -> Iterator[ScratchNetns]:
    with scratch_netns("pod") as made:
        yield made


async def test_packets_flow_as_soon_as_the_pod_is_attached(site, pod, other_pod):
    # given two pods on the node
    one, two = await _pair(site, pod, other_pod)

    # then each first packet arrives: pod to pod, to the node, to the vSwitch's gateway, beyond
    for address in two.addresses:
        assert pod.pings(address)
    for address in NODE_FACTS.addresses:
        assert pod.pings(address)
    for address in (*site.eni.gateways, "198.51.100.1", "2001:db8::1"):
        assert pod.pings(address)
    # and from the node and from the VPC to the pod
    for address in one.addresses:
        assert site.world.node.pings(address)
        assert site.world.gateway.pings(address)


async def _pair(site, pod, other_pod):
    first = await site.attach(site.desired(1, pod))
    second = await site.attach(site.desired(2, other_pod))
    return first, second


async def test_the_nodes_first_packet_to_a_new_pod_is_not_lost(site, pod):
    desired = await site.attach(site.desired(1, pod))

    assert site.world.node.pings(desired.addresses.v6)
    assert site.world.node.pings(desired.addresses.v4)


async def test_pod_traffic_leaves_by_its_eni_with_the_pods_own_address(site, pod):
    desired = await site.attach(site.desired(1, pod))

    for address, target in zip(desired.addresses, ("198.51.100.1", "2001:db8::1"), strict=True):
        found = site.world.node.run(
            f"ip route get {target} from {address} iif {desired.birth.host.name}"
        )
        assert "dev eth1" in found


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
    assert pod.pings("2001:db8::1")


async def test_assuming_nothing_where_something_is_changes_nothing(site, pod):
    desired = await site.attach(site.desired(1, pod))

    with pytest.raises(ConflictError) as caught:
        await site.kernel.apply_and_read(plan_attach(desired, unborn(desired)), desired)

    assert caught.value.code == "EEXIST"
    assert await site.differences(desired) == []


async def test_two_enis_of_one_vswitch_carry_pods_side_by_side(site, pod, other_pod):
    # given a second ENI whose vSwitch, and so whose gateway, is the first one's
    site.world.node.run("ip link add eth2 type veth peer name port2; ip link set port2 up")
    [plugged] = [one for one in await site.kernel.links() if one.name == "eth2"]
    second = replace(site.eni, name="eth2", ifindex=plugged.ifindex)
    host = (*site.host, *desired_eni(second, NODE_FACTS))
    settings = [one for one in host if isinstance(one, Sysctl)]
    await site.kernel.apply(plan_node(host, (), await site.kernel.read_node(settings)))

    # when a pod is attached on each
    made = attachment(2, netns=other_pod.path)
    one = await site.attach(site.desired(1, pod))
    two = await site.attach(desired_attachment(made, eni=second, node=NODE_FACTS))

    # then each has its own way out, and nothing remains to be done
    for desired, link in ((one, "eth1"), (two, "eth2")):
        for owner, target in zip(desired.addresses, ("198.51.100.1", "2001:db8::1"), strict=True):
            host_link = desired.birth.host.name
            way = site.world.node.run(f"ip route get {target} from {owner} iif {host_link}")
            assert f"dev {link} " in way
    of_pods = [part for pod in (one, two) for part in pod.node if isinstance(part, Sysctl)]
    actual = await site.kernel.read_node([*settings, *of_pods])
    assert plan_node(host, (one, two), actual) == ()
    assert pod.pings("2001:db8::1")


async def test_applying_a_whole_plan_twice_is_success(site, pod):
    desired = await site.attach(site.desired(1, pod))
    puts = [Put(netns=NODE, object=one) for one in desired.node]
    puts += [Put(netns=desired.birth.netns, object=one) for one in desired.pod or ()]

    await site.kernel.apply(puts)
    await site.kernel.apply(puts)

    assert await site.differences(desired) == []


@dataclass(frozen=True, slots=True)
class Fault:
    """A change somebody makes behind our back. `at` is the pod or the node."""

    at: str
    command: str
    names: str


FAULTS = [
    Fault("node", "ip route del 192.168.32.1/32", "route 192.168.32.1/32"),
    Fault("node", "ip -6 route del fd00:0:0:2::1/128", "route fd00:0:0:2::1/128"),
    Fault("node", "ip rule del priority 512 to 192.168.32.1", "rule 512 to 192.168.32.1/32"),
    Fault("node", "ip rule del priority 2048 from 192.168.32.1", "rule 2048 from 192.168.32.1/32"),
    Fault("node", "ip -6 rule del priority 512 to fd00:0:0:2::1", "rule 512 to fd00:0:0:2::1/128"),
    Fault(
        "node",
        "ip -6 rule del priority 2048 from fd00:0:0:2::1",
        "rule 2048 from fd00:0:0:2::1/128",
    ),
    Fault(
        "node",
        "ip rule add priority 2048 from 192.168.32.1 lookup 1999",
        "rule 2048 from 192.168.32.1/32: wanted nothing, found lookup 1999",
    ),
    Fault("node", "ip route replace 192.168.32.1/32 dev eth0", "found dev eth0"),
    Fault("node", "ip route append fd00:0:0:2::1/128 dev eth0", "found dev eth0"),
    Fault("node", "ip address del fe80::1/128 dev {host}", "address fe80::1/128"),
    Fault("node", "ip link set {host} address 02:00:00:00:00:99", "02:00:00:00:00:99"),
    Fault("node", "ip link set {host} down", "link {host}"),
    Fault("node", "sysctl -qw net.ipv4.conf.{host}.rp_filter=1", "{host}/rp_filter"),
    Fault("node", "sysctl -qw net.ipv6.conf.{host}.forwarding=0", "{host}/forwarding"),
    Fault("node", "ip link del {host}", "veth {host} and eth0"),
    Fault("pod", "ip address del 192.168.32.1/32 dev eth0", "address 192.168.32.1/32"),
    Fault("pod", "ip address del fd00:0:0:2::1/128 dev eth0", "address fd00:0:0:2::1/128"),
    Fault("pod", "ip route del default", "route 0.0.0.0/0"),
    Fault("pod", "ip -6 route del default", "route ::/0"),
    Fault("pod", "ip route replace default via 10.9.9.9 dev eth0 onlink", "found via 10.9.9.9"),
    Fault("pod", "ip neigh del 169.254.1.1 dev eth0", "neighbour 169.254.1.1"),
    Fault("pod", "ip neigh del fe80::1 dev eth0", "neighbour fe80::1"),
    Fault(
        "pod",
        "ip neigh replace 169.254.1.1 dev eth0 lladdr 02:00:00:00:00:98",
        "found 02:00:00:00:00:98",
    ),
    Fault("pod", "ip link set eth0 down", "link eth0"),
    Fault("pod", "ip link set lo down", "link lo"),
    Fault("pod", "sysctl -qw net.ipv6.conf.eth0.accept_ra=1", "eth0/accept_ra"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: re.sub(r"\W+", "-", fault.command))
async def test_every_fault_is_named_and_mended(site, pod, fault):
    desired = await site.attach(site.desired(1, pod))
    host = desired.birth.host.name

    place = pod if fault.at == "pod" else site.world.node
    place.run(fault.command.format(host=host))
    found = await site.differences(desired)
    await site.attach(desired)

    assert any(fault.names.format(host=host) in line for line in found), found
    assert await site.differences(desired) == []
    for address in desired.addresses:
        assert site.world.gateway.pings(address)


@pytest.mark.parametrize(
    "command",
    [
        "ip rule flush; ip rule add from all lookup main pref 32766",
        "ip address flush dev eth1 scope global",
        "ip route flush table 1{ifindex:03d}; ip -6 route flush table 1{ifindex:03d}",
        "ip link set eth1 down",
        "ip route flush root 192.168.32.0/19",
        "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
    ],
)
async def test_a_node_that_somebody_tidied_is_put_in_order(site, pod, command):
    desired = await site.attach(site.desired(1, pod))

    site.world.node.run(command.format(ifindex=site.eni.ifindex))
    await site.kernel.apply(plan_node(site.host, (desired,), await site.node(desired)))

    assert plan_node(site.host, (desired,), await site.node(desired)) == ()
    assert pod.pings("198.51.100.1")
    assert pod.pings("2001:db8::1")


async def test_teardown_leaves_no_trace(site, pod):
    before = await _snapshot(site)
    desired = await site.attach(site.desired(1, pod))

    await site.detach(desired)

    assert await site.is_gone(desired)
    assert await _snapshot(site) == before
    assert "eth0" not in pod.run("ip -o link show")


async def _snapshot(site: Site) -> set[NetObject]:
    return set((await site.kernel.read_node()).objects)


async def test_rules_and_routes_are_gone_when_detaching_returns(site, pod):
    desired = await site.attach(site.desired(1, pod))

    await site.detach(desired)

    listed = site.world.node.run("ip rule; ip -6 rule; ip route; ip -6 route")
    assert not [one for one in desired.addresses if str(one) in listed.split()]


async def test_detaching_twice_and_without_the_namespace_is_success(site):
    with scratch_netns("gone") as gone:
        desired = await site.attach(site.desired(1, gone))

    await site.detach(desired)
    await site.detach(desired)

    assert await site.is_gone(desired)


async def test_a_container_can_be_attached_again_right_after_it_was_detached(site, pod):
    desired = await site.attach(site.desired(1, pod))

    await site.detach(desired)
    await site.attach(desired)

    assert await site.differences(desired) == []
    assert pod.pings("198.51.100.1")


async def test_a_late_detach_of_an_old_sandbox_leaves_the_new_one_working(site, pod, other_pod):
    # given a pod whose sandbox is replaced by another, with other addresses
    old = await site.attach(site.desired(1, pod, pod="web-0", container_id="old"))
    new = await site.attach(site.desired(2, other_pod, pod="web-0", container_id="new"))

    # when the runtime deletes the old one last
    await site.detach(old)

    assert await site.differences(new) == []
    for address in new.addresses:
        assert site.world.gateway.pings(address)


async def test_a_foreign_interface_of_the_name_is_refused_and_left_alone(site, pod):
    pod.run("ip link add eth0 type veth peer name other")

    with pytest.raises(UsageError):
        await site.attach(site.desired(1, pod))

    assert "eth0" in pod.run("ip -o link show")


async def test_a_namespace_that_is_gone_stops_the_plan(site):
    with scratch_netns("gone") as gone:
        desired = site.desired(1, gone)
        plan = plan_attach(desired, await site.kernel.read_attachment(desired))

    with pytest.raises(ConflictError) as caught:
        await site.kernel.apply(plan)

    assert caught.value.code == "ENOENT"
    assert desired.birth.host.name not in {one.name for one in await site.kernel.links()}


async def test_ipv6_works_in_a_namespace_where_the_runtime_switched_it_off(site, pod):
    pod.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")

    await site.attach(site.desired(1, pod))

    assert pod.pings("2001:db8::1")


async def test_large_packets_cross_whole(site, pod):
    await site.attach(site.desired(1, pod))

    for target, size in (("198.51.100.1", 1472), ("2001:db8::1", 1452)):
        assert pod.pings(target, options=f"-M do -s {size}")


async def test_many_pods_come_and_go_and_nothing_stays(site):
    before = await _snapshot(site)
    with ExitStack() as stack:
        spaces = [stack.enter_context(scratch_netns("pod")) for _ in range(12)]
        pods = [site.desired(number, one) for number, one in enumerate(spaces, 1)]
        for one in pods:
            await site.attach(one)
        assert plan_node(site.host, pods, await site.node(*pods)) == ()

        # when most are detached, one after the other, and a crash takes the rest's records
        for one in pods[:8]:
            await site.detach(one)
        await site.kernel.apply(plan_node(site.host, (), await site.node()))

        assert await site.is_gone(pods[-1])
    assert await _snapshot(site) == before


async def test_a_pod_moves_to_another_eni_without_a_moment_on_none(site, pod):
    desired = await site.attach(site.desired(1, pod))
    other = replace(site.eni, ifindex=900)
    moved = desired_attachment(attachment(1, netns=pod.path), eni=other, node=NODE_FACTS)

    plan = plan_attach(moved, await site.kernel.read_attachment(moved))
    await site.kernel.apply(plan)

    assert [type(one).__name__ for one in plan] == ["Put", "Put", "Remove", "Remove"]
    assert await site.differences(moved) == []
    assert await site.differences(desired) != []
