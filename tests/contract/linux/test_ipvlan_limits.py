"""Limits of pods that are children of their ENIs: one for each direction, held by real traffic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.datapath.ipvlan import desired_child
from terway.datapath.plan import plan_attach
from terway.datapath.shaping import plan_limits
from terway.model.interface import UNLIMITED, Bandwidth
from tests.contract.linux.test_ipvlan_programs import FACTS, Site, site
from tests.support.attachments import attachment, dual_stack
from tests.support.netns import ScratchNetns
from tests.support.rate import held_bytes_s, rate_bytes_s

pytestmark = [pytest.mark.root, pytest.mark.guest]

__all__ = ["site"]

NODE = replace(FACTS, has_shared_limits=True)
FAR = ("198.51.100.1", "2001:db8::1")
_MBIT = 125_000  # bytes per second
_HELD = 8 * _MBIT


async def limited(site: Site, pod: ScratchNetns, bandwidth: Bandwidth) -> None:
    """Have the pod with these limits: made so, or changed while it runs."""
    made = attachment(1, netns=pod.path)
    wanted = replace(made, spec=replace(made.spec, bandwidth=bandwidth))
    desired = desired_child(wanted, eni=site.enis[0], node=NODE)
    actual = await site.kernel.read_attachment(desired)
    plan = plan_limits if actual.is_paired else plan_attach
    await site.kernel.apply(plan(desired, actual))
    for address in dual_stack(1):
        site.world.gateway.run(f"ip route replace {address} dev port")


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize(
    ("bandwidth", "options"),
    [(Bandwidth(egress=_HELD), ()), (Bandwidth(ingress=_HELD), ("--reverse",))],
    ids=["egress", "ingress"],
)
async def test_a_limit_holds_within_a_tenth(site, pod, far, bandwidth, options):
    await limited(site, pod, bandwidth)

    gateway = site.world.gateway
    found = await held_bytes_s(pod, gateway, far, *options, enough=0.9 * _HELD)

    assert found == pytest.approx(_HELD, rel=0.1)


async def test_a_limit_that_is_taken_away_while_the_pod_runs_holds_no_more(site, pod):
    await limited(site, pod, Bandwidth(egress=_HELD))
    await limited(site, pod, UNLIMITED)

    assert await rate_bytes_s(pod, site.world.gateway, FAR[0]) > 2 * _HELD
