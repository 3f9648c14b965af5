"""Which addresses and ENIs does the pool not need any more?

A surplus must last: pods that go are often followed by pods that come. Whole idle ENIs go first,
because they free most; an ENI's primary address goes only with it. Addresses of one family
without a partner in the other serve nobody, and go as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from terway.ipam.census import ENITally, take_census
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH
from terway.ipam.values import AddressPhase, Attempt, ENIPhase, PoolENI, Slot
from terway.model.address import Family, family_of
from terway.model.eni import ENIType
from terway.model.ids import ENIId

_Census = Mapping[ENIId, ENITally]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """What goes: whole ENIs, and addresses of others."""

    enis: tuple[PoolENI, ...] = ()
    slots: tuple[Slot, ...] = ()


def plan_trim(pool: Pool, now: float) -> Pool:
    """Retire what is free beyond the limit, once it has been so for `trim_after_s`."""
    if pool.waiting or pool.intents:
        return _content(pool)
    census = take_census(pool)
    free = sum(census[eni.id].free_pairs for eni in _in_use(pool))
    limit, pool = _limit(pool, free, now)
    if free < pool.config.min_free:
        return _content(pool)
    cut = _choose(pool, census, max(0, free - limit))
    if not cut.enis and not cut.slots:
        return _content(pool)
    if pool.surplus_since is None:
        return replace(pool, surplus_since=now)
    if now - pool.surplus_since < pool.config.trim_after_s:
        return pool
    return _apply(_content(pool), cut, now)


def _content(pool: Pool) -> Pool:
    """Return the pool without a note of a surplus."""
    return pool if pool.surplus_since is None else replace(pool, surplus_since=None)


def _in_use(pool: Pool) -> list[PoolENI]:
    return [eni for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE]


def _limit(pool: Pool, free: int, now: float) -> tuple[int, Pool]:
    """Return how many pairs may be free: fewer and fewer in a pool that nobody touches.

    Source of the idle reclaim: `idle_ip_reclaim_*` of eni-config.
    """
    config = pool.config
    limit = max(config.max_free, config.min_free)
    after_s = config.reclaim_after_s
    idle = after_s is not None and now - pool.touched_at >= after_s
    lower = max(config.min_free, free - config.reclaim_batch)
    is_due = idle and now - pool.reclaimed_at >= config.reclaim_interval_s
    if not is_due or free > limit or lower >= free:
        return limit, pool
    # The surplus was announced by `reclaim_after_s`; it need not last a second time.
    return lower, replace(pool, reclaimed_at=now, surplus_since=now - config.trim_after_s)


def _choose(pool: Pool, census: _Census, surplus: int) -> _Cut:
    order = sorted(_in_use(pool), key=lambda e: (census[e.id].usable_pairs, e.id))
    enis: list[PoolENI] = []
    slots: list[Slot] = []
    for eni in order:
        pairs = census[eni.id].usable_pairs
        if census[eni.id].is_idle and eni.type is ENIType.SECONDARY and pairs <= surplus:
            enis.append(eni)
            surplus -= pairs
    for eni in order:
        if eni not in enis:
            pairs, chosen = _shrink(pool, eni, census[eni.id], surplus)
            slots += chosen
            surplus -= pairs
    return _Cut(enis=tuple(enis), slots=tuple(slots))


def _shrink(pool: Pool, eni: PoolENI, tally: ENITally, surplus: int) -> tuple[int, list[Slot]]:
    """Return up to `surplus` pairs of an ENI, and the addresses without a partner.

    No more of a family than one call takes.
    """
    usable = [tally.of(family).usable for family in pool.config.families]
    if not surplus and max(usable) == tally.usable_pairs:
        return 0, []  # as after nearly every ADD and DEL: not worth a walk over all addresses
    spare = {family: _spare(pool, eni, family) for family in pool.config.families}
    pairs = min(surplus, *map(len, spare.values()))
    chosen: list[Slot] = []
    for family, slots in spare.items():
        alone = tally.of(family).usable - tally.usable_pairs
        chosen += slots[: min(BATCH, pairs + alone)]
    return pairs, chosen


def _spare(pool: Pool, eni: PoolENI, family: Family) -> list[Slot]:
    return [
        slot
        for slot in pool.slots_of(eni.id)
        if slot.phase is AddressPhase.FREE
        and not slot.is_primary
        and family_of(slot.address) is family
    ]


def _apply(pool: Pool, cut: _Cut, now: float) -> Pool:
    for eni in cut.enis:
        pool = _give_up(pool, eni, now)
    return pool.with_slots(replace(slot, phase=AddressPhase.RETIRING) for slot in cut.slots)


def _give_up(pool: Pool, eni: PoolENI, now: float) -> Pool:
    """Let a whole ENI go."""
    leaving = replace(eni, phase=ENIPhase.DETACHING, attempt=Attempt(), changed_at=now)
    retiring = (replace(s, phase=AddressPhase.RETIRING) for s in pool.slots_of(eni.id))
    return pool.with_eni(leaving).with_slots(retiring)
