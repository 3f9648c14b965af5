"""When must the pool be stepped again, if nothing happens?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.ipam.commands import CloudCommand, Observe, ObserveVSwitches
from terway.ipam.issue import action_of, intent_command, operation_of
from terway.ipam.pool import NEVER, Pool
from terway.ipam.reclaim import idle_at
from terway.ipam.values import AddressPhase


def wake_at(pool: Pool, now: float) -> float:
    """Return the time of the next Tick, later than `now`; infinity for never.

    What was due at `now` has been done by the step at `now`, or waits for the answer to
    something: an alarm that has passed is no alarm.
    """
    return min((alarm for alarm in _alarms(pool, now) if alarm > now), default=NEVER)


def _alarms(pool: Pool, now: float) -> Iterator[float]:
    yield from _calls(pool, now)
    yield from _rests(pool)
    yield from _sizes(pool)
    yield from holds_of(pool)


def _calls(pool: Pool, now: float) -> Iterator[float]:
    yield max(pool.watch.due_at, _affordable_at(pool, Observe(detached=False), now))
    yield max(pool.vswitch_watch.due_at, _affordable_at(pool, ObserveVSwitches(ids=()), now))
    for intent in pool.intents.values():
        yield max(intent.attempt.due_at, _affordable_at(pool, intent_command(intent), now))
    for eni in pool.enis.values():
        operation = operation_of(pool, eni)
        if operation is not None:
            yield max(eni.attempt.due_at, _affordable_at(pool, operation, now))


def _affordable_at(pool: Pool, command: CloudCommand, now: float) -> float:
    action = action_of(command)
    return pool.budget.ready_at(now, action) if action else now


def _rests(pool: Pool) -> Iterator[float]:
    yield pool.flush_after
    for slot in pool.slots.values():
        if slot.phase is AddressPhase.COOLING and not slot.is_flushing:
            yield max(slot.rests_until, pool.flush_after)
    for prefix in pool.prefixes.values():
        yield prefix.rests_until


def _sizes(pool: Pool) -> Iterator[float]:
    if pool.grow_at is not None:
        yield pool.grow_at
    if pool.surplus_since is not None:
        yield pool.surplus_since + pool.config.trim_after_s
    idle_since = idle_at(pool)
    if idle_since is not None:
        yield idle_since if pool.reclaim_at is None else pool.reclaim_at


def holds_of(pool: Pool) -> Iterator[float]:
    """Yield when what was refused may be asked for again."""
    if pool.create_hold is not None:
        yield pool.create_hold.until
    for state in pool.vswitches.values():
        for hold in (state.hold, state.prefix_hold):
            if hold is not None:
                yield hold.until
    for eni in pool.enis.values():
        yield eni.grow_after
