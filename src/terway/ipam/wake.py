"""When must the pool be stepped again, if nothing happens?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.ipam.commands import WaitLink
from terway.ipam.issue import operation_of
from terway.ipam.pool import NEVER, Pool
from terway.ipam.values import AddressPhase


def wake_at(pool: Pool, now: float) -> float:
    """Return the time of the next Tick, later than `now`; infinity for never.

    What was due at `now` has been done by the step at `now`, or waits for the answer to
    something: an alarm that has passed is no alarm.
    """
    return min((alarm for alarm in _alarms(pool, now) if alarm > now), default=NEVER)


def _alarms(pool: Pool, now: float) -> Iterator[float]:
    yield from _calls(pool, pool.budget.ready_at(now))
    yield from _rests(pool)
    yield from _sizes(pool)
    yield from _holds(pool)


def _calls(pool: Pool, affordable_at: float) -> Iterator[float]:
    for watch in (pool.watch, pool.vswitch_watch):
        yield max(watch.due_at, affordable_at)
    for intent in pool.intents.values():
        yield max(intent.attempt.due_at, affordable_at)
    for eni in pool.enis.values():
        operation = operation_of(pool, eni)
        if isinstance(operation, WaitLink):
            yield eni.attempt.due_at
        elif operation is not None:
            yield max(eni.attempt.due_at, affordable_at)


def _rests(pool: Pool) -> Iterator[float]:
    yield pool.flush_after
    for slot in pool.slots.values():
        if slot.phase is AddressPhase.COOLING:
            yield slot.rests_until


def _sizes(pool: Pool) -> Iterator[float]:
    if pool.grow_at is not None:
        yield pool.grow_at
    if pool.surplus_since is not None:
        yield pool.surplus_since + pool.config.trim_after_s
    if pool.config.reclaim_after_s is not None:
        idle_at = pool.touched_at + pool.config.reclaim_after_s
        yield max(idle_at, pool.reclaimed_at + pool.config.reclaim_interval_s)


def _holds(pool: Pool) -> Iterator[float]:
    """Yield when what was refused may be asked for again."""
    if pool.create_hold is not None:
        yield pool.create_hold.until
    for state in pool.vswitches.values():
        if state.hold is not None:
            yield state.hold.until
    for eni in pool.enis.values():
        yield eni.grow_after
