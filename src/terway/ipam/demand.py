"""How many addresses are wanted, by whom, and which of them are there or on their way?

Demand is counted once: those who wait, and what must be free beside, less what is free, rests or
has been asked for already. Resting addresses count because a flush brings them back without a
call. An address serves one wish only, in the order in which the wishes came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from terway.ipam.census import ENITally, staying, take_census
from terway.ipam.fit import ORDINARY, serves, will_serve
from terway.ipam.pool import Pool
from terway.ipam.settings import PREFIX_ADDRESSES
from terway.ipam.values import CreateIntent
from terway.model.address import Family
from terway.model.ids import ENIId
from terway.model.interface import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """How many pairs for `wish` are neither there nor asked for."""

    wish: Placement
    pairs: int


def shortfalls(pool: Pool, census: Mapping[ENIId, ENITally]) -> tuple[Shortfall, ...]:
    """Return what is lacking, by wish."""
    wanted = Counter(pool.waiting.values())
    wanted.update(pool.expected)
    wanted[ORDINARY] += reserve(pool, census)
    if len(wanted) == 1:  # as nearly always
        lacking = wanted[ORDINARY] - ready_pairs(pool, census, ORDINARY)
        return (Shortfall(wish=ORDINARY, pairs=lacking),) if lacking > 0 else ()
    return tuple(one for one in _share_out(pool, census, wanted) if one.pairs > 0)


def _share_out(
    pool: Pool, census: Mapping[ENIId, ENITally], wanted: Mapping[Placement, int]
) -> Iterator[Shortfall]:
    attached = {eni.id: census[eni.id].ready_pairs for eni in staying(pool)}
    coming = {intent.token: coming_pairs(pool, intent) for intent in pool.creates}
    for wish, count in wanted.items():
        lacking = count
        for eni_id, ready in attached.items():
            if serves(pool.config, pool.enis[eni_id], wish):
                taken = min(ready, lacking)
                attached[eni_id] -= taken
                lacking -= taken
        for intent in pool.creates:
            if will_serve(pool.config, intent, wish):
                taken = min(coming[intent.token], lacking)
                coming[intent.token] -= taken
                lacking -= taken
        yield Shortfall(wish=wish, pairs=lacking)


def reserve(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    """Return how many pairs are to be free for ordinary pods that have not come yet.

    Until the warm-up has been reached once, the pool is to have so many in all. Prefixes are
    counted by the prefix: `prefixes` sees to them.
    """
    config = pool.config
    if config.has_prefixes:
        return 0
    if pool.is_warm or not config.warm_up:
        return config.min_free
    return max(config.min_free, warm_up_target(pool, census) - pods_served(pool, census))


def mark_warm(pool: Pool) -> Pool:
    """Note for good that the warm-up has been reached."""
    if pool.is_warm or not pool.config.warm_up or pool.intents or not pool.enis:
        return pool
    census = take_census(pool)
    there = ready_pairs(pool, census, ORDINARY) + pods_served(pool, census)
    return replace(pool, is_warm=True) if there >= warm_up_target(pool, census) else pool


def warm_up_target(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    """Return how many pairs the warm-up aims at: no more than ordinary pods can have.

    ENIs that serve pods with wishes of their own keep their slots as long as they do.
    """
    config = pool.config
    others = sum(
        not serves(config, eni, ORDINARY) and not eni.is_erdma and not census[eni.id].is_idle
        for eni in staying(pool)
    )
    enis = pool.eni_limit - config.erdma_enis - others
    return min(config.warm_up, max(0, enis) * config.pods_per_eni)


def allocated_pairs(pool: Pool) -> int:
    """Return how many pairs of ordinary ENIs there are, given to pods or not."""
    census = take_census(pool)
    families = pool.config.families
    return sum(
        min(census[eni.id].of(one).usable - census[eni.id].of(one).coming for one in families)
        for eni in staying(pool)
        if serves(pool.config, eni, ORDINARY)
    )


def pods_served(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    """Return how many pairs of ordinary ENIs pods have."""
    return sum(
        min(census[eni.id].of(family).bound for family in pool.config.families)
        for eni in staying(pool)
        if serves(pool.config, eni, ORDINARY)
    )


def ready_pairs(pool: Pool, census: Mapping[ENIId, ENITally], wish: Placement) -> int:
    """Return how many pods with `wish` the pool could serve without a new call."""
    config = pool.config
    attached = sum(census[eni.id].ready_pairs for eni in staying(pool) if serves(config, eni, wish))
    return attached + sum(
        coming_pairs(pool, intent) for intent in pool.creates if will_serve(config, intent, wish)
    )


def coming_pairs(pool: Pool, intent: CreateIntent) -> int:
    """Return how many pods the ENI that is being created will serve as it comes."""
    return min(_coming(intent, family) for family in pool.config.families)


def _coming(intent: CreateIntent, family: Family) -> int:
    return intent.count(family) + intent.prefixes(family) * PREFIX_ADDRESSES[family]
