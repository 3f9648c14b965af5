"""The pool's one way forward: a pool and an event in, the next pool and what must be done out.

Every step ends with the same look at the whole: rests that are over, addresses for those who
wait, demand and surplus, calls that are due. So it does not matter which event woke the pool, and
a lost or repeated one does no harm.
"""

from __future__ import annotations

from terway.ipam.answers import answered
from terway.ipam.commands import Bind, Command
from terway.ipam.configure import configured
from terway.ipam.demand import mark_warm
from terway.ipam.events import (
    Acquire,
    Configured,
    ConntrackCleared,
    Event,
    Expected,
    Failed,
    Holding,
    Observed,
    Release,
    Tick,
    VSwitchesObserved,
    Withdraw,
)
from terway.ipam.growth import plan_growth
from terway.ipam.holding import expected, holding, number_recalls, place_held
from terway.ipam.issue import issue
from terway.ipam.leases import acquire, grant, release, withdraw
from terway.ipam.making_way import make_way
from terway.ipam.outlook import refuse
from terway.ipam.pool import Pool
from terway.ipam.prefixes import plan_prefixes
from terway.ipam.reconcile import drop_lost, observed
from terway.ipam.rest import cleared, plan_flush
from terway.ipam.setbacks import failed
from terway.ipam.supplied import give_back
from terway.ipam.trim import plan_trim
from terway.ipam.watch import plan_readings, vswitches_observed


def step(pool: Pool, event: Event, *, now: float) -> tuple[Pool, tuple[Command, ...]]:
    """Return the pool after `event`, and the commands.

    `now` is monotonic seconds and never goes back. What differs between the two pools must be
    durable before a command begins.
    """
    if isinstance(event, Acquire):
        pool, binds = acquire(pool, event.owner, event.placement, now)
    else:
        pool, binds = _after(pool, event, now), ()
    return _settle(pool, binds, now)


def _after(pool: Pool, event: Event, now: float) -> Pool:  # noqa: PLR0911 - a branch per event
    match event:
        case Withdraw():
            return withdraw(pool, event.owner)
        case Release():
            return release(pool, event.owner, now)
        case Configured():
            return configured(pool, event.config, now)
        case Expected():
            return expected(pool, event, now)
        case Holding():
            return holding(pool, event, now)
        case Observed():
            return observed(pool, event, now)
        case VSwitchesObserved():
            return vswitches_observed(pool, event, now)
        case ConntrackCleared():
            return cleared(pool, event.addresses)
        case Failed():
            return failed(pool, event, now)
        case Acquire() | Tick():
            return pool
        case _:
            return answered(pool, event, now)


def _settle(pool: Pool, binds: tuple[Bind, ...], now: float) -> tuple[Pool, tuple[Command, ...]]:
    pool = give_back(place_held(drop_lost(pool)))
    pool = plan_prefixes(pool, now)
    pool, grants = grant(pool, now)
    pool, flushes = plan_flush(pool, now)
    pool = plan_growth(mark_warm(pool), now)
    pool, refusals = refuse(pool, now)
    pool = number_recalls(make_way(plan_trim(pool, now), now))
    pool, calls = issue(pool, now)
    pool, readings = plan_readings(pool, now)
    return pool, (*binds, *grants, *refusals, *flushes, *calls, *readings)
