"""A node whose ipam_type changes under load loses no pod's address, and gives none twice.

Bug classes 4 and 7. `default`: the agent calls the cloud itself; `crd`: the control plane does, for
which it keeps running beside a node of its own supply. The change is a restart of the agent.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from terway.lab.faults.virtual import run_virtually
from tests.property.test_pool_handshake import Story

happenings = st.lists(
    st.tuples(
        st.sampled_from(["come", "guest", "go", "go", "leader", "switch", "switch", "lag", "rest"]),
        st.floats(0.0, 9.0),
        st.integers(1, 9),
    ),
    min_size=4,
    max_size=14,
)


class SwitchedStory(Story):
    """One node that is supplied, or not, in turns."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_supplied = True
        self.agent.conf |= {"security_groups": [self.cluster.cloud.at.group]}

    def options(self) -> dict[str, bool]:
        return {"is_supplied": self.is_supplied}

    async def happen(self, what: str, count: int) -> None:
        if what != "switch":
            await super().happen(what, count)
            return
        self.is_supplied = not self.is_supplied
        await self.happen("restart", count)


async def tell(folder: Path, what: list[tuple[str, float, int]]) -> None:
    story = SwitchedStory(folder)
    await story.lead()
    await story.live()
    for name, moment, count in what:
        await story.happen(name, count)
        await asyncio.sleep(moment)
    await story.calm_down()
    given = Counter(str(one.lease.addresses.v4) for one in story.service.attachments())
    there = {ip for ips in story.cluster.cloud.secondary_enis().values() for ip in ips}
    assert not story.wrong
    assert all(count == 1 for count in given.values())
    assert len(given) == len(story.pods)
    assert set(given) <= there
    await story.die()
    for leader in story.leaders:
        await leader.aclose()


@settings(
    max_examples=20, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck)
)
@given(happenings)
def test_pods_keep_their_addresses_whoever_sees_to_the_supply(what):
    with tempfile.TemporaryDirectory() as folder:
        run_virtually(tell(Path(folder), what))
