"""Which addresses and ENIs does the pool not need any more?

A surplus must last: pods that go are often followed by pods that come. Whole idle ENIs go first,
because they free most; an ENI's primary address goes only with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from terway.ipam.census import ENITally, take_census
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH
from terway.ipam.values import AddressPhase, Attempt, ENIPhase, PoolENI, Slot
from terway.model.address import Family, family_of
from terway.model.eni import ENIType
from terway.model.ids import ENIId


def plan_trim(pool: Pool, now: float) -> Pool:
    """Retire what is free beyond the limit, once it has been so for `trim_after_s`."""
    if pool.waiting or pool.intents:
        return replace(pool, surplus_since=None) if pool.surplus_since is not None else pool
    census = take_census(pool)
    limit, pool = _limit(pool, _free_pairs(pool, census), now)
    surplus = _free_pairs(pool, census) - limit
    if surplus <= 0:
        return replace(pool, surplus_since=None) if pool.surplus_since is not None else pool
    if pool.surplus_since is None:
        return replace(pool, surplus_since=now)
    if now - pool.surplus_since < pool.config.trim_after_s:
        return pool
    return _retire(replace(pool, surplus_since=None), census, surplus, now)


def _free_pairs(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    return sum(census[eni.id].free_pairs for eni in _in_use(pool))


def _in_use(pool: Pool) -> list[PoolENI]:
    return [eni for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE]


def _limit(pool: Pool, free: int, now: float) -> tuple[int, Pool]:
    """Return how many pairs may be free: fewer and fewer in a pool that nobody touches.

    Source of the idle reclaim: `idle_ip_reclaim_*` of eni-config.
    """
    config = pool.config
    limit = max(config.max_free, config.min_free)
    after = config.reclaim_after_s
    idle = after is not None and now - pool.touched_at >= after
    if not idle or now - pool.reclaimed_at < config.reclaim_interval_s or free > limit:
        return limit, pool
    lower = max(config.min_free, free - config.reclaim_batch)
    if lower >= free:
        return limit, pool
    # The surplus was announced by `reclaim_after_s`; it need not last a second time.
    return lower, replace(pool, reclaimed_at=now, surplus_since=now - config.trim_after_s)


def _retire(pool: Pool, census: Mapping[ENIId, ENITally], surplus: int, now: float) -> Pool:
    order = sorted(_in_use(pool), key=lambda e: (census[e.id].usable_pairs, e.id))
    for eni in order:
        pairs = census[eni.id].usable_pairs
        if census[eni.id].is_idle and eni.type is ENIType.SECONDARY and 0 < pairs <= surplus:
            pool = _give_up(pool, eni, now)
            surplus -= pairs
    for eni in order:
        if surplus > 0 and pool.enis[eni.id].phase is ENIPhase.IN_USE:
            pool, surplus = _shrink(pool, eni, surplus)
    return pool


def _give_up(pool: Pool, eni: PoolENI, now: float) -> Pool:
    """Let a whole ENI go."""
    leaving = replace(
        eni, phase=ENIPhase.DETACHING, attempt=Attempt(), changed_at=now, is_requested=False
    )
    retiring = (replace(s, phase=AddressPhase.RETIRING) for s in pool.slots_of(eni.id))
    return pool.with_eni(leaving).with_slots(retiring)


def _shrink(pool: Pool, eni: PoolENI, surplus: int) -> tuple[Pool, int]:
    """Retire up to `surplus` pairs of an ENI, as many as one call for each family takes."""
    spare = {family: _spare(pool, eni, family) for family in pool.config.families}
    pairs = min(surplus, BATCH, *map(len, spare.values()))
    chosen = [slot for slots in spare.values() for slot in slots[:pairs]]
    pool = pool.with_slots(replace(slot, phase=AddressPhase.RETIRING) for slot in chosen)
    return pool, surplus - pairs


def _spare(pool: Pool, eni: PoolENI, family: Family) -> list[Slot]:
    return [
        slot
        for slot in pool.slots_of(eni.id)
        if slot.phase is AddressPhase.FREE
        and not slot.is_primary
        and family_of(slot.address) is family
    ]
