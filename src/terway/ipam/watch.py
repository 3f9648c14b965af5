"""When is the cloud to be read?

Seldom: at the start, every few minutes, and when an answer showed that we are wrong about it.
What we changed is not read back after each call; the next reading shows it, whatever it was.
"""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.commands import Observe, ObserveVSwitches
from terway.ipam.events import VSwitchesObserved
from terway.ipam.issue import can_afford, spend
from terway.ipam.pool import NEVER, Pool
from terway.ipam.stock import is_stale
from terway.ipam.values import Attempt, VSwitchState
from terway.model.ids import VSwitchId


def plan_readings(pool: Pool, now: float) -> tuple[Pool, tuple[Observe | ObserveVSwitches, ...]]:
    """Begin the readings that are due and affordable."""
    pool, first = _observe(pool, now)
    pool, second = _observe_vswitches(pool, now)
    return pool, (*first, *second)


def _observe(pool: Pool, now: float) -> tuple[Pool, tuple[Observe, ...]]:
    watch = pool.watch
    if watch.is_running or now < watch.due_at:
        return pool, ()
    detached = watch.detached_due_at <= now
    config = pool.config
    watch = replace(
        watch,
        is_running=True,
        due_at=now + config.observe_every_s,
        detached_due_at=now + config.orphans_every_s if detached else watch.detached_due_at,
    )
    command = Observe(detached=detached)
    if not can_afford(pool, command, now):
        return pool, ()
    return spend(replace(pool, watch=watch), command), (command,)


def _observe_vswitches(pool: Pool, now: float) -> tuple[Pool, tuple[ObserveVSwitches, ...]]:
    watch = pool.vswitch_watch
    if watch.is_running or now < watch.due_at:
        return pool, ()
    command = ObserveVSwitches(ids=wanted_vswitches(pool, now))
    if not can_afford(pool, command, now):
        return pool, ()
    running = Attempt(failures=watch.failures, due_at=NEVER, is_running=True)
    asked = {**pool.vswitches_asked, **dict.fromkeys(command.ids, now)}
    pool = replace(pool, vswitch_watch=running, vswitches_asked=asked)
    return spend(pool, command), (command,)


def wanted_vswitches(pool: Pool, now: float) -> tuple[VSwitchId, ...]:
    """Return the vSwitches that matter here and were not read for a while; one call each."""
    wished = (one for wish in pool.waiting.values() for one in wish.vswitch_ids)
    of_enis = (eni.vswitch_id for eni in pool.enis.values())
    matter = dict.fromkeys((*pool.config.vswitch_ids, *wished, *of_enis))
    return tuple(one for one in matter if one and is_stale(pool, one, now))


def vswitches_observed(pool: Pool, event: VSwitchesObserved, now: float) -> Pool:
    """Take over what was read. A vSwitch that said it is full is believed until its hold ends."""
    for vswitch in event.vswitches:
        old = pool.vswitches.get(vswitch.id)
        hold = old.hold if old is not None and old.is_held(now) else None
        prefixes = old.prefix_hold if old is not None and old.is_prefix_held(now) else None
        available = vswitch.available_ip_count
        state = VSwitchState(
            vswitch=vswitch, available=available, read_at=now, hold=hold, prefix_hold=prefixes
        )
        pool = pool.with_vswitch(state)
    return replace(pool, vswitch_watch=Attempt(due_at=NEVER), vswitches_read=True)
