"""A pod with an ENI of its own: one limit for each direction, by whichever leg its packets go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest

from terway.datapath.device import plan_return, plan_take, verify_device
from terway.datapath.exclusive import desired_device, desired_leg
from terway.datapath.plan import plan_attach
from terway.datapath.verify import verify
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.interface import UNLIMITED, Bandwidth
from tests.support.attachments import ENI, NODE_FACTS, attachment
from tests.support.iproute import ip_here
from tests.support.netns import NodeWithENI, ScratchNetns
from tests.support.rate import both_bytes_s, held_bytes_s, rate_bytes_s

pytestmark = pytest.mark.root

FAR = ("198.51.100.1", "2001:db8::1")
BY_THE_NODE = ("203.0.113.1", "2001:db8:1::1")
FACTS = replace(NODE_FACTS, host_stack_cidrs=tuple(map(ip_network, BY_THE_NODE)))
_MBIT = 125_000  # bytes per second


@dataclass(frozen=True, slots=True)
class ExclusivePod:
    """A pod that has the ENI eth1 of the node, and a second leg to it."""

    kernel: Kernel
    made: Attachment

    def limited(self, bandwidth: Bandwidth) -> Attachment:
        return replace(self.made, spec=replace(self.made.spec, bandwidth=bandwidth))

    async def hold(self, bandwidth: Bandwidth) -> tuple[str, ...]:
        """Make both legs as they should be with these limits; return what differs then."""
        wanted = self.limited(bandwidth)
        device = desired_device(wanted, gateways=ENI.gateways, node=FACTS)
        leg = desired_leg(wanted, node=FACTS)
        await self.kernel.apply(plan_take(device, await self.kernel.read_device(device)))
        await self.kernel.apply(plan_attach(leg, await self.kernel.read_attachment(leg)))
        return await self.differences(bandwidth)

    async def differences(self, bandwidth: Bandwidth) -> tuple[str, ...]:
        wanted = self.limited(bandwidth)
        device = desired_device(wanted, gateways=ENI.gateways, node=FACTS)
        leg = desired_leg(wanted, node=FACTS)
        inside = verify_device(device, await self.kernel.read_device(device))
        beside = verify(leg, await self.kernel.read_attachment(leg))
        return tuple(map(str, (*inside, *beside)))

    async def give_back(self) -> None:
        device = desired_device(self.made, gateways=ENI.gateways, node=FACTS)
        await self.kernel.apply(plan_return(device, await self.kernel.read_device(device)))


@pytest.fixture
def exclusive(world: NodeWithENI, kernel: Kernel, pod: ScratchNetns) -> ExclusivePod:
    """A pod and its legs' far ends: FAR beyond the ENI, BY_THE_NODE at the node."""
    made = attachment(1, netns=pod.path)
    world.node.run(f"ip link set eth1 address {ENI.mac}; sysctl -qw net.ipv4.ip_forward=1")
    for address in BY_THE_NODE:
        world.node.run(f"ip address add {address} dev lo")
    for own in made.lease.addresses:
        world.gateway.run(f"ip route add {own} dev port")
    return ExclusivePod(kernel, made)


@pytest.mark.parametrize(("mbit", "family"), [(1, 1), (20, 0), (100, 1)])
async def test_both_directions_by_the_eni_are_held_within_a_tenth(
    world, pod, exclusive, mbit, family
):
    ingress, egress = mbit * _MBIT, 2 * mbit * _MBIT
    limits = Bandwidth(ingress=ingress, egress=egress)
    assert await exclusive.hold(limits) == ()

    ends = (pod, world.gateway, FAR[family])
    out = await held_bytes_s(*ends, enough=0.9 * egress)
    back = await held_bytes_s(*ends, "--reverse", enough=0.9 * ingress)

    assert out == pytest.approx(egress, rel=0.1)
    assert back == pytest.approx(ingress, rel=0.1)


@pytest.mark.parametrize("direction", ["egress", "ingress"])
async def test_both_legs_together_are_held_to_one_limit(world, pod, exclusive, direction):
    # One family each: the limit is one for both of them as well.
    assert await exclusive.hold(Bandwidth(ingress=20 * _MBIT, egress=20 * _MBIT)) == ()
    ends = ((world.gateway, FAR[0]), (world.node, BY_THE_NODE[1]))
    options = ("--reverse",) if direction == "ingress" else ()

    both = await both_bytes_s(
        pod,
        lambda: [rate_bytes_s(pod, *one, *options, seconds=5) for one in ends],
        links=[f"tw-{direction}"],
        enough=0.9 * 20 * _MBIT,
    )

    assert both.is_held_to(20 * _MBIT), both


async def test_a_limit_that_changes_or_goes_cuts_no_connection(world, pod, exclusive):
    await exclusive.hold(Bandwidth(egress=40 * _MBIT, ingress=40 * _MBIT))
    flow = asyncio.create_task(rate_bytes_s(pod, world.gateway, FAR[0], seconds=4))
    await asyncio.to_thread(pod.run, "until ss -tn | grep -q ESTAB; do sleep 0.02; done")

    for limits in (Bandwidth(egress=80 * _MBIT), Bandwidth(egress=20 * _MBIT), UNLIMITED):
        assert await exclusive.hold(limits) == ()

    assert await flow > 0  # iperf3 came to its end, on the connections it had
    assert "tw-" not in pod.run("ip link")


@pytest.mark.parametrize(
    "harm",
    [
        "ip link del tw-ingress",
        "ip link set tw-egress down",
        "tc qdisc del dev tw-ingress root",
        "tc qdisc replace dev tw-egress root handle 7e2a: tbf rate 1gbit burst 1mb latency 10ms",
        "tc filter del dev eth0 egress",
        "tc qdisc del dev veth1 clsact",
    ],
)
async def test_what_somebody_takes_from_a_limit_is_seen_and_mended(world, pod, exclusive, harm):
    limits = Bandwidth(ingress=20 * _MBIT, egress=20 * _MBIT)
    await exclusive.hold(limits)
    pod.run(harm)

    assert await exclusive.differences(limits) != ()
    assert await exclusive.hold(limits) == ()
    assert pod.pings(FAR[0])


async def test_a_pod_without_limits_has_no_link_for_them(pod, exclusive):
    assert await exclusive.hold(UNLIMITED) == ()

    names = {one["ifname"] for one in ip_here("link", netns=pod.path)}
    assert names == {"lo", "eth0", "veth1"}


async def test_the_device_comes_back_without_a_filter_of_ours(world, pod, exclusive):
    await exclusive.hold(Bandwidth(ingress=20 * _MBIT, egress=20 * _MBIT))

    await exclusive.give_back()

    name = next(one for one in await exclusive.kernel.links() if one.mac == ENI.mac).name
    assert world.node.run(f"tc qdisc show dev {name}") == ""
    assert "tw-" not in pod.run("ip link")  # a runtime may use the namespace again
