"""Pods with fixed and elastic ENIs, their nodes and the cloud, at any moments, under real queues.

Whatever happens in whichever order: when it is over each pod that is there has its ENIs, nothing is
left in the cloud that no PodENI has, and an address that was to stay has stayed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.controlplane.podenis.sweep import EVERY_S
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import eventually
from tests.support.pod_eni_live import LivePodENIs, pod_eni_control_plane
from tests.unit.controlplane.podenis.test_races import FIXED, NEVER, nothing_is_left_over

KINDS = {"db-0": FIXED, "db-1": NEVER, "web-0": {}}
MOMENTS = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 3.2, 5.0, 30.0])


@dataclass(frozen=True)
class Deed:
    """A pod goes, or comes to a node; or the control plane dies and another begins."""

    name: str
    node: str  # empty: it goes
    after_s: float


DEEDS = st.lists(
    st.builds(
        Deed,
        name=st.sampled_from([*KINDS, ""]),
        node=st.sampled_from(["", "n1", "n2"]),
        after_s=MOMENTS,
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=10, deadline=None)
@given(deeds=DEEDS)
def test_whatever_happens_each_pod_has_its_enis_and_nothing_is_left_over(deeds):
    async def main():
        cluster = LivePodENIs()
        for name in ("n1", "n2"):
            cluster.add_shared_node(name, eni="3")
        await asyncio.sleep(10)
        todo = list(deeds)
        there: set[str] = set()
        kept: dict[str, object] = {}
        while todo:
            async with pod_eni_control_plane(cluster):
                while todo:
                    deed = todo.pop(0)
                    await asyncio.sleep(deed.after_s)
                    if not deed.name:
                        break
                    act(cluster, deed, there)
                    note(cluster, kept)
        async with pod_eni_control_plane(cluster):
            await eventually(lambda: all(map(cluster.is_served, there)))
            await clean(cluster)
            for name in there & kept.keys():
                assert cluster.addresses_of(name) == kept[name]

    run_virtually(main())


async def clean(cluster: LivePodENIs) -> None:
    """Wait until nothing is left over: what nobody recorded is swept after ten minutes."""
    async with asyncio.timeout(3 * EVERY_S):
        while not nothing_is_left_over(cluster):  # noqa: ASYNC110 - of virtual time
            await asyncio.sleep(5)


def act(cluster: LivePodENIs, deed: Deed, there: set[str]) -> None:
    if deed.name in there:
        cluster.delete_pod(deed.name)
        there.discard(deed.name)
    if deed.node:
        cluster.make_pod(deed.name, deed.node, **KINDS[deed.name])
        there.add(deed.name)


def note(cluster: LivePodENIs, kept: dict[str, object]) -> None:
    """Note the addresses that were to stay, once a pod had them."""
    for name, kind in KINDS.items():
        if kind and cluster.is_served(name):
            kept.setdefault(name, cluster.addresses_of(name))
