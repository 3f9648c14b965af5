"""Can a pod that asks now hope for an address, and if not, why?

Whoever cannot be served by what is there, what is coming and what may still be asked for is told
so at once: waiting for the runtime's timeout helps nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terway.ipam.census import ready_pairs, staying, take_census
from terway.ipam.choice import NoVSwitch, choose_vswitch
from terway.ipam.commands import Refuse
from terway.ipam.growth import is_create_held, is_growable
from terway.ipam.pool import NEVER, Pool
from terway.ipam.values import PoolENI

_FULL_RETRY_S = 5.0  # for a full node: pods must go first, nobody knows when


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How many more pods can be served, now or after calls; `reason` says why not more."""

    pairs: int
    reason: str
    retry_after_s: float


def look_ahead(pool: Pool, now: float) -> Outlook:
    """Return what the pool can hope for, without the pods that wait already."""
    census = take_census(pool)
    full = pool.config.pods_per_eni
    room = 0
    holds: list[tuple[str, float]] = []
    for eni in staying(pool):
        left = max(0, full - census[eni.id].usable_pairs)
        if left and not is_growable(pool, eni, now):
            holds.append(_why_not_growable(pool, eni, now))
        else:
            room += left
    room += sum(full - min(map(one.count, pool.config.families)) for one in pool.creates)
    new, refusal = _new_enis(pool, now)
    holds += refusal
    pairs = ready_pairs(pool, census) + room + new * full
    return _outlook(pool, pairs, holds, now)


def _outlook(pool: Pool, pairs: int, holds: list[tuple[str, float]], now: float) -> Outlook:
    if not pool.config.capacity:
        reason = "the instance type and eni_conf leave this node no ENI for pods"
        return Outlook(pairs=pairs, reason=reason, retry_after_s=_FULL_RETRY_S)
    if not holds:
        reason = f"all {pool.config.capacity} addresses of this node's ENIs are in use"
        return Outlook(pairs=pairs, reason=reason, retry_after_s=_FULL_RETRY_S)
    until = min(when for _, when in holds)
    after = _FULL_RETRY_S if until == NEVER else max(1.0, until - now)
    reason = "; ".join(dict.fromkeys(why for why, _ in holds))
    return Outlook(pairs=pairs, reason=reason, retry_after_s=after)


def _why_not_growable(pool: Pool, eni: PoolENI, now: float) -> tuple[str, float]:
    state = pool.vswitches.get(eni.vswitch_id)
    if state is not None and state.hold is not None and state.is_held(now):
        return f"{eni.vswitch_id} has no free address: {state.hold.reason}", state.hold.until
    return f"{eni.id} was refused more addresses", eni.grow_after


def _new_enis(pool: Pool, now: float) -> tuple[int, list[tuple[str, float]]]:
    """Return how many ENIs may still be created, and what stands in the way of more.

    ENIs on their way out leave room for others.
    """
    stays = sum(not eni.phase.is_leaving for eni in pool.enis.values()) + len(pool.creates)
    allowed = min(pool.config.max_enis, pool.config.eni_slots - pool.foreign_enis)
    if allowed <= stays:
        return 0, []
    if pool.create_hold is not None and is_create_held(pool, now):
        return 0, [(f"no ENI can be created: {pool.create_hold.reason}", pool.create_hold.until)]
    if not pool.vswitches_read:
        return allowed - stays, []
    choice = choose_vswitch(pool.config, pool.vswitches, draw=0, now=now)
    if isinstance(choice, NoVSwitch):
        return 0, [(f"no vSwitch for another ENI: {choice.reason}", choice.retry_at)]
    return allowed - stays, []


def refuse(pool: Pool, now: float) -> tuple[Pool, tuple[Refuse, ...]]:
    """Send away those who came last and cannot hope."""
    if not pool.waiting:
        return pool, ()
    outlook = look_ahead(pool, now)
    hopeless = pool.waiting[max(0, outlook.pairs) :]
    refusals = tuple(
        Refuse(owner=owner, reason=outlook.reason, retry_after_s=outlook.retry_after_s)
        for owner in hopeless
    )
    return replace(pool, waiting=pool.waiting[: max(0, outlook.pairs)]), refusals
