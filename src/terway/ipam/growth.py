"""How many addresses must be asked of the cloud, and from which ENI?

What demand there is within `coalesce_s` becomes one plan; ENIs that are there are filled before
another is created; a call that must be made anyway brings the pool up to `max_free`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from terway.ipam.census import ENITally, staying, take_census
from terway.ipam.creation import Load, create_enis, ensure_trunk
from terway.ipam.demand import Shortfall, coming_pairs, reserve, shortfalls
from terway.ipam.fit import ORDINARY, serves, will_serve
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH
from terway.ipam.stock import available_in, doubt, is_held, least_asked
from terway.ipam.values import AssignIntent, ENIPhase, PoolENI
from terway.ipam.wake import holds_of
from terway.model.address import Family
from terway.model.ids import ENIId
from terway.model.interface import Placement

_LOOK_AGAIN_S = 60.0  # where nothing that is known stands in the way


def plan_growth(pool: Pool, now: float) -> Pool:
    """Add the intents that cover the demand, once it has been collected."""
    if pool.config.is_supplied or not pool.config.may_grow:
        return pool
    pool = ensure_trunk(pool, now)
    census = take_census(pool)
    lacking = shortfalls(pool, census)
    if not lacking:
        return pool if pool.grow_at is None else replace(pool, grow_at=None)
    due_at = _due_at(pool, now)
    if pool.grow_at is None or due_at < pool.grow_at:
        return replace(pool, grow_at=due_at)
    if now < pool.grow_at:
        return pool
    grown = replace(pool, grow_at=None, grown_from=())
    for shortfall in lacking:
        grown = _cover(grown, shortfall, now)
    is_begun = grown.intents is not pool.intents or grown.vswitch_watch != pool.vswitch_watch
    return grown if is_begun else replace(grown, grown_from=_grounds(grown))


def _due_at(pool: Pool, now: float) -> float:
    """Return until when demand is collected that comes now.

    Where the last look at the same things led to nothing, only time can change that: who is full
    would look for ever.
    """
    if not _is_same(pool.grown_from, _grounds(pool)):
        return now + pool.config.coalesce_s
    return min((now + _LOOK_AGAIN_S, *(until for until in holds_of(pool) if until > now)))


def _grounds(pool: Pool) -> tuple[object, ...]:
    """Return what it depends on whether demand can be covered, beside time."""
    parts = (pool.enis, pool.intents, pool.vswitches, pool.config, pool.create_hold)
    return (*parts, dict(pool.expected), len(pool.waiting), pool.is_observed)


def _is_same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return bool(before) and all(a is b or a == b for a, b in zip(before, now, strict=True))


def _cover(pool: Pool, shortfall: Shortfall, now: float) -> Pool:
    """Ask for what one wish lacks; prefixes for ordinary pods are `prefixes`' business."""
    wish, pairs = shortfall.wish, shortfall.pairs
    if pool.config.has_prefixes and wish == ORDINARY:
        return pool
    pool, pairs = _fill_enis(pool, wish, pairs, now)
    pairs -= _promised_room(pool, wish, now)
    most = pairs + _headroom(pool, wish)
    full = pool.config.pods_per_eni
    while pairs > 0:
        created = create_enis(pool, wish, _singles(pool, min(most, full)), now)
        if not len(created.intents) > len(pool.intents):
            return created
        pool, pairs, most = created, pairs - full, most - full
    return pool


def _singles(pool: Pool, pairs: int) -> Load:
    families = pool.config.families
    return Load(
        ipv4=min(pairs, pool.config.create_batch) if Family.V4 in families else 1,
        ipv6=min(pairs, BATCH) if Family.V6 in families else 0,
    )


def _headroom(pool: Pool, wish: Placement) -> int:
    """Return how many a call may bring beyond what is needed, without a later trim."""
    if wish != ORDINARY:
        return 0
    return max(0, pool.config.max_free - reserve(pool, take_census(pool)))


def _fill_enis(pool: Pool, wish: Placement, shortfall: int, now: float) -> tuple[Pool, int]:
    census = take_census(pool)
    fit = (eni for eni in staying(pool) if serves(pool.config, eni, wish))
    for eni in sorted(fit, key=lambda e: (-census[e.id].usable_pairs, e.id)):
        if shortfall <= 0:
            break
        if can_assign(pool, eni, now):
            room = _room_for_pairs(pool, census[eni.id])
            supply = _supply(pool, eni)
            pool = pool if supply else doubt(pool, eni.vswitch_id, now)
            wanted = min(room, shortfall + _headroom(pool, wish), supply)
            pool = _assign(pool, eni, census[eni.id], wanted)
            shortfall -= max(0, wanted)
    return pool, shortfall


def _supply(pool: Pool, eni: PoolENI) -> int:
    """Return what the ENI's vSwitch may be asked for: more than it has is refused whole.

    At least one: others may have given addresses back since it was read. Not where all of them are
    counted together, and would all ask.
    """
    if Family.V4 not in pool.config.families:
        return BATCH
    available = available_in(pool, eni.vswitch_id)
    return BATCH if available is None else max(least_asked(pool), available)


def is_growable(pool: Pool, eni: PoolENI, now: float, *, by_prefix: bool = False) -> bool:
    """Return whether the cloud may be expected to give this ENI more addresses, or prefixes."""
    return now >= eni.grow_after and not is_held(pool, eni.vswitch_id, now, by_prefix=by_prefix)


def can_assign(pool: Pool, eni: PoolENI, now: float, *, by_prefix: bool = False) -> bool:
    """Return whether an assignment can be asked for now: one thing at a time for an ENI."""
    return (
        eni.phase is ENIPhase.IN_USE
        and is_growable(pool, eni, now, by_prefix=by_prefix)
        and not pool.assigns_of(eni.id)
        and not eni.attempt.is_running
    )


def _room_for_pairs(pool: Pool, tally: ENITally) -> int:
    """Return how many pairs one call for each family can add.

    A family that has more than the others already needs fewer for the same pairs.
    """
    spare = (
        tally.of(family).usable
        - tally.usable_pairs
        + max(0, min(BATCH, pool.config.per_eni(family) - tally.of(family).room))
        for family in pool.config.families
    )
    return min(spare)


def _assign(pool: Pool, eni: PoolENI, tally: ENITally, pairs: int) -> Pool:
    for family in pool.config.families:
        count = tally.usable_pairs + pairs - tally.of(family).usable
        if pairs > 0 and count > 0:
            pool, token = pool.new_token()
            intent = AssignIntent(token=token, eni_id=eni.id, family=family, count=count)
            pool = pool.with_intent(intent)
    return pool


def room_left(pool: Pool, tally: ENITally) -> int:
    """Return how many more pairs an ENI can have, in time.

    What a pod holds of a range that drains takes no room of its own; what goes back makes room.
    """
    config, of = pool.config, tally.of
    return max(0, min(config.per_eni(f) - of(f).room + of(f).retiring for f in config.families))


def _promised_room(pool: Pool, wish: Placement, now: float) -> int:
    """Return the pairs that ENIs will have room for which are busy or on their way."""
    census: Mapping[ENIId, ENITally] = take_census(pool)
    config = pool.config
    busy = (
        room_left(pool, census[eni.id])
        for eni in staying(pool)
        if serves(config, eni, wish)
        and is_growable(pool, eni, now)
        and not can_assign(pool, eni, now)
    )
    coming = (
        config.pods_per_eni - coming_pairs(pool, one)
        for one in pool.creates
        if will_serve(config, one, wish)
    )
    return sum(max(0, room) for room in (*busy, *coming))
