"""Limits of pods, by real traffic: both directions, both families, changed while it flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_node
from terway.datapath.shaping import plan_limits
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.kernel import Kernel
from terway.model.address import IPPair
from terway.model.interface import UNLIMITED, Bandwidth
from terway.model.network import AttachmentState, Sysctl
from terway.model.traffic import TokenBucket
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.netns import NodeWithENI, ScratchNetns
from tests.support.rate import held_bytes_s, rate_bytes_s

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
FAR = ("198.51.100.1", "2001:db8::1")
Limited = Callable[[Bandwidth], AttachmentState]
_MBIT = 125_000  # bytes per second
_TRIES = 5


@pytest.fixture
async def limited(world: NodeWithENI, kernel: Kernel, pod: ScratchNetns) -> Limited:
    """What is desired of the pod with given limits, on a node in order."""
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    assert plugged.mac is not None
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    host = (*desired_host(NODE_FACTS), *desired_eni(eni, NODE_FACTS))
    actual = await kernel.read_node(one for one in host if isinstance(one, Sysctl))
    await kernel.apply(plan_node(host, (), actual))
    made = attachment(1, netns=pod.path)

    def desire(bandwidth: Bandwidth) -> AttachmentState:
        spec = replace(made.spec, bandwidth=bandwidth)
        return desired_attachment(replace(made, spec=spec), eni=eni, node=NODE_FACTS)

    return desire


async def attach(kernel: Kernel, desired: AttachmentState) -> None:
    await kernel.apply(plan_attach(desired, await kernel.read_attachment(desired)))
    assert verify(desired, await kernel.read_attachment(desired)) == ()


async def change(kernel: Kernel, desired: AttachmentState) -> None:
    await kernel.apply(plan_limits(desired, await kernel.read_attachment(desired)))
    assert verify(desired, await kernel.read_attachment(desired)) == ()


# Any machine keeps up with this, whatever else it does; beyond, only too fast is a mistake.
_SLOW_ENOUGH_MBIT = 100


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("mbit", [1, 20, 500])
async def test_a_pod_is_held_to_its_limits_within_a_tenth(
    world, kernel, pod, limited, mbit, family
):
    ingress, egress = mbit * _MBIT, 2 * mbit * _MBIT
    limits = Bandwidth(ingress=ingress, egress=egress)
    await attach(kernel, limited(limits))

    ends = (pod, world.gateway, FAR[family])
    least = 0.9 if mbit <= _SLOW_ENOUGH_MBIT else 0.4
    out = await held_bytes_s(*ends, enough=least * egress)
    back = await held_bytes_s(*ends, "--reverse", enough=least * ingress)

    assert least * egress <= out <= 1.1 * egress
    assert least * ingress <= back <= 1.1 * ingress


@pytest.mark.parametrize("gbit", [2, 10])
async def test_high_rates_are_kept_and_not_slowed_down_by_the_queue_that_keeps_them(
    world, kernel, pod, limited, gbit
):
    # What this machine can do without a limit is the measure, at that time: it may be less than
    # the limit, and it changes with what else the machine does.
    limit = 1000 * gbit * _MBIT
    await attach(kernel, limited(UNLIMITED))
    shares: list[float] = []
    while not shares or (shares[-1] < 0.5 and len(shares) < _TRIES):
        await change(kernel, limited(UNLIMITED))
        free = await rate_bytes_s(pod, world.gateway, FAR[0])
        await change(kernel, limited(Bandwidth(ingress=limit, egress=limit)))
        held = await rate_bytes_s(pod, world.gateway, FAR[0])
        assert held <= 1.1 * limit
        shares.append(held / min(free, limit))

    assert shares[-1] >= 0.5, shares


async def test_a_limit_that_changes_or_goes_cuts_no_connection(world, kernel, pod, limited):
    await attach(kernel, limited(Bandwidth(egress=40 * _MBIT)))
    flow = asyncio.create_task(rate_bytes_s(pod, world.gateway, FAR[0], seconds=4))
    await asyncio.to_thread(pod.run, "until ss -tn | grep -q ESTAB; do sleep 0.02; done")

    for limits in (Bandwidth(egress=80 * _MBIT), Bandwidth(egress=20 * _MBIT), UNLIMITED):
        await change(kernel, limited(limits))

    assert await flow > 0  # iperf3 came to its end, on the connections it had
    assert "tbf" not in pod.run("tc qdisc")
    assert "tbf" not in world.node.run("tc qdisc")


async def test_the_queue_of_somebody_else_is_left_alone_where_no_limit_is_asked_for(
    world, kernel, pod, limited
):
    # bug class 52: other users of traffic control
    desired = limited(UNLIMITED)
    await attach(kernel, desired)
    pod.run("tc qdisc add dev eth0 root handle 1: tbf rate 1gbit burst 1mb latency 10ms")

    assert plan_attach(desired, await kernel.read_attachment(desired)) == ()


@pytest.mark.parametrize("rate", [125, 125_000, 1_250_000_000, 12_500_000_000])
async def test_a_queue_is_read_back_as_it_was_put(kernel, pod, limited, rate):
    desired = limited(Bandwidth(ingress=rate, egress=rate))

    await attach(kernel, desired)

    buckets = [one for one in (desired.pod or ()) if isinstance(one, TokenBucket)]
    assert [one.rate_bytes_s for one in buckets] == [rate]
