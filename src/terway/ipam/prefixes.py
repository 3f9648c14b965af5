"""How many prefixes is the node to have, which give addresses, and which are given back?

The user says how many there are of the first family. Fewer than before: the least used stop giving
addresses, those on the emptiest ENIs first, and go when their last address is free. More: those
that drain are taken back, the fullest first, then ENIs are filled, then others created. In dual
stack an ENI with IPv4 prefixes has one of IPv6, and loses it with the last of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from terway.ipam.census import ENITally, staying, take_census
from terway.ipam.creation import Load, create_enis
from terway.ipam.fit import ORDINARY, is_ordinary
from terway.ipam.growth import can_assign, is_growable
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH, IPV4_PER_PREFIX
from terway.ipam.stock import available_in, doubt, least_asked
from terway.ipam.values import AssignIntent, ENIPhase, PoolENI, Prefix, PrefixPhase
from terway.model.address import Family, IPNetwork
from terway.model.ids import ENIId

_GIVES = (PrefixPhase.VALID, PrefixPhase.DRAINING)


def plan_prefixes(pool: Pool, now: float) -> Pool:
    """Let prefixes give addresses or drain, retire the empty ones, and ask for what lacks."""
    if not pool.config.has_prefixes and not pool.prefixes:
        return pool
    if pool.config.is_supplied:
        return _forget_lost(pool)
    pool = _drain(pool)
    pool = _pair_phases(pool)
    pool = _retire_empty(pool)
    pool = _forget_lost(pool)
    return _grow(pool, now) if pool.config.may_grow else pool


def in_use(pool: Pool) -> Counter[IPNetwork | None]:
    """Return how many addresses of each prefix are bound or rest."""
    return Counter(slot.prefix for slot in pool.slots.values())


def _leading(pool: Pool) -> list[Prefix]:
    """Return the prefixes that are counted: of the first family, on ENIs that stay."""
    family = pool.config.families[0]
    stay = {eni.id for eni in staying(pool)}
    found = (one for one in pool.prefixes.values() if one.family is family and one.eni_id in stay)
    return [one for one in found if one.phase in _GIVES]


def _drain(pool: Pool) -> Pool:
    """Let as many give addresses as there are to be."""
    used = in_use(pool)
    on_eni = Counter(slot.eni_id for slot in pool.slots.values() if slot.owner is not None)
    fit = {eni.id for eni in staying(pool) if is_ordinary(pool.config, eni)}
    leading = _leading(pool)
    by_use = sorted(
        (one for one in leading if one.eni_id in fit),
        key=lambda one: (-on_eni[one.eni_id], one.eni_id, -used[one.network], str(one.network)),
    )
    # Those that give keep giving: a verdict that changed with each pod would free none.
    valid = [one for one in by_use if one.phase is PrefixPhase.VALID]
    draining = [one for one in by_use if one.phase is PrefixPhase.DRAINING]
    keep = {one.network for one in (*valid, *draining)[: pool.config.prefixes]}
    return _put_phases(pool, leading, keep)


def _put_phases(pool: Pool, prefixes: Iterable[Prefix], keep: set[IPNetwork]) -> Pool:
    changed = [
        replace(one, phase=phase)
        for one in prefixes
        if one.phase
        is not (phase := PrefixPhase.VALID if one.network in keep else PrefixPhase.DRAINING)
    ]
    return pool.with_prefixes(changed) if changed else pool


def _pair_phases(pool: Pool) -> Pool:
    """Let prefixes of the second family follow those of the first on their ENI."""
    first = pool.config.families[0]
    with_first = {
        one.eni_id
        for one in pool.prefixes.values()
        if one.family is first and one.phase is not PrefixPhase.LOST
    }
    followers = [
        one for one in pool.prefixes.values() if one.family is not first and one.phase in _GIVES
    ]
    wanted = pool.config.has_prefixes and len(pool.config.families) > 1
    keep = {one.network for one in followers if wanted and one.eni_id in with_first}
    return _put_phases(pool, followers, keep)


def _retire_empty(pool: Pool) -> Pool:
    used = in_use(pool)
    stay = {eni.id for eni in staying(pool)}
    empty = [
        replace(one, phase=PrefixPhase.RETIRING)
        for one in pool.prefixes.values()
        if one.phase is PrefixPhase.DRAINING and not used[one.network] and one.eni_id in stay
    ]
    return pool.with_prefixes(empty) if empty else pool


def _forget_lost(pool: Pool) -> Pool:
    lost = [one.network for one in pool.prefixes.values() if one.phase is PrefixPhase.LOST]
    if not lost:
        return pool
    used = in_use(pool)
    return pool.without_prefixes(network for network in lost if not used[network])


def _grow(pool: Pool, now: float) -> Pool:
    census = take_census(pool)
    lacking = prefixes_lacking(pool, census)
    if lacking > 0:
        pool, lacking = _fill_enis(pool, census, lacking, now)
        lacking -= _promised_room(pool, now)
        pool = _create_enis(pool, lacking, now)
    return _complete_pairs(pool, now)


def prefixes_lacking(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    """Return how many prefixes are neither there nor asked for."""
    family = pool.config.families[0]
    there = sum(
        census[eni.id].of(family).prefixes for eni in staying(pool) if is_ordinary(pool.config, eni)
    )
    coming = sum(intent.prefixes(family) for intent in pool.creates)
    return max(0, pool.config.prefixes - there - coming)


def _fill_enis(
    pool: Pool, census: Mapping[ENIId, ENITally], lacking: int, now: float
) -> tuple[Pool, int]:
    family = pool.config.families[0]
    fit = (eni for eni in staying(pool) if is_ordinary(pool.config, eni))
    for eni in sorted(fit, key=lambda e: (-census[e.id].of(family).prefixes, e.id)):
        room = pool.config.per_eni(family) - census[eni.id].of(family).room
        supply = _supply(pool, eni)
        pool = pool if supply else doubt(pool, eni.vswitch_id, now)
        count = min(lacking, room, BATCH, supply)
        if count > 0 and can_assign(pool, eni, now, by_prefix=True):
            pool = _assign(pool, eni, family, count)
            lacking -= count
    return pool, lacking


def _supply(pool: Pool, eni: PoolENI) -> int:
    available = available_in(pool, eni.vswitch_id)
    if available is None or Family.V4 not in pool.config.families:
        return BATCH
    return max(least_asked(pool), available // IPV4_PER_PREFIX)


def _assign(pool: Pool, eni: PoolENI, family: Family, count: int) -> Pool:
    pool, token = pool.new_token()
    return pool.with_intent(
        AssignIntent(token=token, eni_id=eni.id, family=family, count=count, is_prefix=True)
    )


def _promised_room(pool: Pool, now: float) -> int:
    """Return how many prefixes ENIs have room for that are busy or on their way."""
    family = pool.config.families[0]
    census = take_census(pool)
    busy = (
        pool.config.per_eni(family) - census[eni.id].of(family).room
        for eni in staying(pool)
        if is_ordinary(pool.config, eni)
        and is_growable(pool, eni, now, by_prefix=True)
        and not can_assign(pool, eni, now, by_prefix=True)
    )
    most = pool.config.prefixes_per_eni
    coming = (most - one.prefixes(family) for one in pool.creates if one.prefixes(family))
    return sum(max(0, room) for room in (*busy, *coming))


def _create_enis(pool: Pool, lacking: int, now: float) -> Pool:
    most = pool.config.prefixes_per_eni
    while lacking > 0 and most > 0:
        created = create_enis(pool, ORDINARY, _load(pool, min(lacking, most, BATCH)), now)
        if len(created.intents) == len(pool.intents):
            return created
        pool, lacking = created, lacking - most
    return pool


def _load(pool: Pool, count: int) -> Load:
    if pool.config.families[0] is Family.V6:
        return Load(ipv6_prefixes=count)
    return Load(ipv4_prefixes=count, ipv6_prefixes=len(pool.config.families) - 1)


def _complete_pairs(pool: Pool, now: float) -> Pool:
    """Give ENIs with prefixes of the first family one of the second."""
    for family in pool.config.families[1:] if pool.config.has_prefixes else ():
        census = take_census(pool)
        for eni in staying(pool):
            tally = census[eni.id]
            lacks = tally.of(pool.config.families[0]).prefixes and not tally.of(family).prefixes
            has_room = tally.of(family).room < pool.config.per_eni(family)
            if lacks and has_room and _can_complete(pool, eni, family, now):
                pool = _assign(pool, eni, family, 1)
    return pool


def _can_complete(pool: Pool, eni: PoolENI, family: Family, now: float) -> bool:
    others = [one for one in pool.assigns_of(eni.id) if one.family is family]
    return (
        eni.phase is ENIPhase.IN_USE
        and now >= eni.grow_after
        and not others
        and not eni.attempt.is_running
    )
