"""Which addresses and ENIs does the pool not need any more?

A surplus must last: pods that go are often followed by pods that come. Whole idle ENIs go first,
because they free most; an ENI's primary address goes only with it. To pack is to take addresses
from the ENI with fewest pods, which is the next to be idle; to spread, from the one with most
addresses. Addresses of one family without a partner in the other serve nobody, and go as well;
so do all of an ENI that is not ordinary, once nobody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from terway.ipam.census import ENITally, take_census
from terway.ipam.demand import pods_served, warm_up_target
from terway.ipam.fit import ORDINARY, is_ordinary
from terway.ipam.pool import Pool
from terway.ipam.reclaim import shrinks_to
from terway.ipam.settings import BATCH, ENIPolicy
from terway.ipam.values import AddressPhase, Attempt, ENIPhase, PoolENI, Slot
from terway.model.address import Family, family_of
from terway.model.eni import ENIType
from terway.model.ids import ENIId

_Census = Mapping[ENIId, ENITally]
_ALL = 1 << 30  # more than any node has


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """What goes: whole ENIs, and addresses of others."""

    enis: tuple[PoolENI, ...] = ()
    slots: tuple[Slot, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.enis or self.slots)

    def __add__(self, other: _Cut) -> _Cut:
        return _Cut(enis=self.enis + other.enis, slots=self.slots + other.slots)


def plan_trim(pool: Pool, now: float) -> Pool:
    """Retire what is free beyond the limit, once it has been so for `trim_after_s`."""
    if pool.waiting or pool.intents or pool.config.is_supplied or not pool.config.may_shrink:
        return _content(pool)
    census = take_census(pool)
    ordinary = [eni for eni in _in_use(pool) if is_ordinary(pool.config, eni)]
    others = [eni for eni in _in_use(pool) if not is_ordinary(pool.config, eni)]
    surplus, pool = _surplus(pool, census, ordinary, now)
    cut = _choose(pool, census, ordinary, surplus) + _choose(pool, census, others, _ALL)
    if not cut:
        return _content(pool)
    if pool.surplus_since is None:
        return replace(pool, surplus_since=now)
    if now < pool.surplus_since + pool.config.trim_after_s:  # as the alarm in `wake` has it
        return pool
    return _apply(_content(pool), cut, now)


def _content(pool: Pool) -> Pool:
    """Return the pool without a note of a surplus."""
    return pool if pool.surplus_since is None else replace(pool, surplus_since=None)


def _in_use(pool: Pool) -> list[PoolENI]:
    found = (eni for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE)
    return [eni for eni in found if not eni.is_excluded]


def _surplus(
    pool: Pool, census: _Census, ordinary: Iterable[PoolENI], now: float
) -> tuple[int, Pool]:
    """Return how many pairs ordinary pods can do without; negative: not even those alone."""
    config = pool.config
    if config.has_prefixes:  # single addresses are from before; prefixes are counted elsewhere
        return _ALL, pool
    free = sum(census[eni.id].free_pairs for eni in ordinary)
    coming = pool.expected.get(ORDINARY, 0)
    limit = max(config.max_free, config.min_free) + coming
    if config.warm_up and not pool.is_warm:
        limit = max(limit, warm_up_target(pool, census) - pods_served(pool, census))
    limit, pool = shrinks_to(pool, free=free, limit=limit, now=now)
    return (-1 if free < config.min_free + coming else max(0, free - limit)), pool


def _choose(pool: Pool, census: _Census, enis: Iterable[PoolENI], surplus: int) -> _Cut:
    if surplus < 0:
        return _Cut()
    order = sorted(enis, key=lambda eni: _rank(pool, census[eni.id], eni))
    whole: list[PoolENI] = []
    slots: list[Slot] = []
    for eni in order:
        pairs = census[eni.id].usable_pairs
        if _can_go(pool, census[eni.id], eni) and pairs <= surplus:
            whole.append(eni)
            surplus -= pairs
    for eni in order:
        if eni not in whole:
            pairs, chosen = _shrink(pool, eni, census[eni.id], surplus)
            slots += chosen
            surplus -= pairs
    return _Cut(enis=tuple(whole), slots=tuple(slots))


def _rank(pool: Pool, tally: ENITally, eni: PoolENI) -> tuple[int, int, str]:
    if pool.config.eni_policy is ENIPolicy.LEAST_IPS:
        return -tally.usable_pairs, tally.in_use, eni.id
    return tally.in_use, tally.usable_pairs, eni.id


def _can_go(pool: Pool, tally: ENITally, eni: PoolENI) -> bool:
    """Return whether a whole ENI could go: nothing of it is used, and no prefix is counted on."""
    return tally.is_idle and eni.type is ENIType.SECONDARY and not pool.prefixes_of(eni.id)


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
        pool = give_up(pool, eni, now)
    return pool.with_slots(replace(slot, phase=AddressPhase.RETIRING) for slot in cut.slots)


def give_up(pool: Pool, eni: PoolENI, now: float) -> Pool:
    """Let a whole ENI go."""
    leaving = replace(eni, phase=ENIPhase.DETACHING, attempt=Attempt(), changed_at=now)
    retiring = (replace(s, phase=AddressPhase.RETIRING) for s in pool.slots_of(eni.id))
    return pool.with_eni(leaving).with_slots(retiring)
