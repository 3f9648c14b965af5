"""The same schedules, on a lab with real packets: whatever went wrong, pods reach each other."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from terway.lab.faults.live import inject
from terway.lab.faults.schedule import parse_schedule
from terway.lab.world.lab import Lab, open_lab
from terway.model.address import Family

pytestmark = pytest.mark.lab

SCHEDULE = """
seed: 1
length_s: 6
events:
- {do: lose-replies, at: 0, action: CreateNetworkInterface, count: 2}
- {do: refuse-calls, at: 0, action: AttachNetworkInterface, code: InternalError}
- {do: add, at: 0.1, container: a, pod: a}
- {do: add, at: 0.1, container: b, pod: b, node: 1}
- {do: kill, at: 1.0}
- {do: lose-replies, at: 1.5, action: AssignPrivateIpAddresses}
- {do: add, at: 2.0, container: c, pod: c}
- {do: kill, at: 2.2, node: 1}
"""


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=2) as lab:
        yield lab


async def test_pods_reach_each_other_after_lost_replies_refusals_and_kills(lab: Lab) -> None:
    """Bug classes 2, 13 and 23, with the daemon as a process of its own."""
    left = await inject(lab, parse_schedule(SCHEDULE))

    assert left == ()
    pods = [await lab.wait_pod(name) for name in "abc"]
    addresses = [pod.address(Family.V4) for pod in pods]
    assert len(set(addresses)) == len(pods)
    for pod in pods[1:]:
        assert await pods[0].can_reach(pod)
