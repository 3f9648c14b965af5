"""How does one history go, from its schedule to the verdict?"""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from terway.lab.faults.happen import calm, happen
from terway.lab.faults.oracle import is_beyond_mending, judge
from terway.lab.faults.record import record_logs
from terway.lab.faults.schedule import Schedule
from terway.lab.faults.virtual import BOOTED_S, run_virtually
from terway.lab.faults.world import World

# When all is well again, the world has this long to get in order. The longest memory is that for
# attachments that nobody claims (agent.reconcile.FORGOTTEN_S, 300 s), found by two looks.
QUIET_S = 480.0
_LOOK_EVERY_S = 40.0
# A runtime collects garbage every ten minutes, too. Late, so that terwayd has to do without it;
# it is for a DEL that came while its ADD was under way, and whose note the attachment outlived.
_COLLECT_AFTER_S = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a history ended. `failures` is empty when all is in order."""

    schedule: Schedule
    failures: tuple[str, ...]
    digest: str  # of all that happened
    lines: tuple[str, ...]
    alarms: tuple[str, ...]
    virtual_s: float

    @property
    def is_ok(self) -> bool:
        """Return whether all is in order."""
        return not self.failures


def run_schedule(
    schedule: Schedule, *, look: Callable[[World], None] = lambda world: None
) -> Outcome:
    """Run a history to its end. The same schedule has the same outcome, to the byte.

    `look` sees the world as it is in the end.
    """
    # The spool and the paths of namespaces are real files; memory is fast enough for them.
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own in it
    folder = Path(tempfile.mkdtemp(prefix="terway-faults-", dir=base))
    # What the collector finds runs finalizers, and when it looks depends on earlier histories.
    gc.disable()
    try:
        return run_virtually(_run(schedule, folder, look))
    finally:
        gc.enable()
        shutil.rmtree(folder, ignore_errors=True)


async def _run(schedule: Schedule, folder: Path, look: Callable[[World], None]) -> Outcome:
    tasks = asyncio.TaskGroup()
    async with tasks:
        world = World(schedule, folder, tasks)
        undo = record_logs(world.record)
        try:
            world.start()
            await _live(world)
            outcome = _outcome(schedule, world, await _come_to_rest(world))
            look(world)
        finally:
            undo()
        for task in tasks._tasks:  # it has no way to end what it holds
            task.cancel()
    return outcome


def _outcome(schedule: Schedule, world: World, failures: tuple[str, ...]) -> Outcome:
    return Outcome(
        schedule=schedule,
        failures=failures,
        digest=world.record.digest(),
        lines=tuple(world.record.lines),
        alarms=tuple(world.record.alarms),
        virtual_s=asyncio.get_running_loop().time() - BOOTED_S,
    )


async def _live(world: World) -> None:
    """Let the events of the schedule happen at their times."""
    for event in sorted(world.schedule.events, key=attrgetter("at")):
        await _sleep_until(event.at)
        happen(world, event)
    await _sleep_until(world.schedule.length_s)
    calm(world)


async def _come_to_rest(world: World) -> tuple[str, ...]:
    """Return what is out of order when all had time to mend it; empty as soon as nothing is."""
    failures: tuple[str, ...] = ()
    calm_at = asyncio.get_running_loop().time()
    while (quiet_s := asyncio.get_running_loop().time() - calm_at) < QUIET_S:
        if quiet_s >= _COLLECT_AFTER_S:
            await world.collect_garbage()
        await asyncio.sleep(_LOOK_EVERY_S)
        failures = await judge(world)
        if not failures or is_beyond_mending(world):
            break
    for one in failures:
        world.record.add("oracle", one)
    return failures


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, BOOTED_S + at - asyncio.get_running_loop().time()))
