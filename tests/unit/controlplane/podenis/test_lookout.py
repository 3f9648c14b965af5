"""Who waits for ENIs shares the calls, the answers and the failures; nobody takes them away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.lookout import Lookout
from terway.controlplane.podenis.vswitches import VSwitches
from terway.model.errors import ThrottledError, TransientError
from terway.model.ids import VSwitchId
from tests.support.cloud_world import make_world
from tests.support.pod_eni_cluster import FreeTurns


class SlowCloud:
    """A cloud that answers when it is told to, and counts what it is asked."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.world = make_world()
        self.asked: list[tuple[str, ...]] = []
        self.vswitches: list[str] = []
        self.called = asyncio.Event()
        self.answers = asyncio.Event()
        self.failure = failure

    async def describe_enis(self, *, eni_ids=(), tags=()):
        self.asked.append(tuple(eni_ids))
        self.called.set()
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return ()

    async def describe_vswitches(self, ids):
        self.vswitches += ids
        await self.answers.wait()
        return ()


class Refusals(FreeTurns):
    """A budget that notes when the cloud asked for fewer calls."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[tuple[str, float]] = []

    def throttled(self, action, retry_after_s):
        self.refused.append((action, retry_after_s))


def calls_of(cloud, turns=None):
    return Calls(cloud, turns or FreeTurns(), clock=cloud.world.clock)


@asynccontextmanager
async def looking(cloud, turns=None):
    lookout = Lookout(calls_of(cloud, turns), soon_s=0.0, later_s=0.0)
    running = asyncio.ensure_future(lookout.run())
    yield lookout
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_hundred_enis_are_one_call():
    cloud = SlowCloud()
    cloud.answers.set()

    async with looking(cloud) as lookout:
        found = await asyncio.gather(*(lookout.look(f"eni-{n}") for n in range(150)))

    assert found == [None] * 150
    assert sorted(map(len, cloud.asked)) == [50, 100]


async def test_one_who_gives_up_leaves_the_answer_to_the_others():
    cloud = SlowCloud()

    async with looking(cloud) as lookout:
        first, second = (asyncio.ensure_future(lookout.look("eni-1")) for _ in range(2))
        await cloud.called.wait()
        first.cancel()
        cloud.answers.set()

        assert await second is None


async def test_a_failure_is_everybodys_and_the_budget_hears_of_throttling():
    cloud, turns = SlowCloud(ThrottledError("slow down", retry_after_s=3.0)), Refusals()
    cloud.answers.set()

    async with looking(cloud, turns) as lookout:
        for _ in range(2):
            with pytest.raises(TransientError):
                await lookout.look("eni-1")

    assert turns.refused == [("DescribeNetworkInterfaces", 3.0)] * 2


async def test_many_who_ask_for_one_vswitch_are_one_call():
    cloud = SlowCloud()
    vswitches = VSwitches(calls_of(cloud), clock=cloud.world.clock, ttl_s=60.0)
    cloud.answers.set()

    await asyncio.gather(*(vswitches.supplies([VSwitchId("vsw-1")]) for _ in range(9)))

    assert cloud.vswitches == ["vsw-1"]
