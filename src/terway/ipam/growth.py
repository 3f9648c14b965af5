"""How many addresses must be asked of the cloud, and from which ENI?

Demand is counted once: those who wait, and what `min_free` lacks, less what is free, rests or
has been asked for already. Resting addresses count because a flush brings them back without a
call. What demand there is within `coalesce_s` becomes one plan; ENIs that are there are filled
before another is created; a call that must be made anyway brings the pool up to `max_free`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from terway.ipam.census import ENITally, ready_pairs, staying, take_census
from terway.ipam.choice import choose_vswitch
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH, CREATOR_TAG, INSTANCE_TAG, INTENT_TAG
from terway.ipam.values import (
    AssignIntent,
    CreateIntent,
    ENIPhase,
    PoolENI,
    VSwitchState,
)
from terway.model.address import Family
from terway.model.ids import ENIId, VSwitchId


def plan_growth(pool: Pool, now: float) -> Pool:
    """Add the intents that cover the demand, once it has been collected."""
    census = take_census(pool)
    shortfall = len(pool.waiting) + pool.config.min_free - ready_pairs(pool, census)
    if shortfall <= 0:
        return pool if pool.grow_at is None else replace(pool, grow_at=None)
    if pool.grow_at is None:
        return replace(pool, grow_at=now + pool.config.coalesce_s)
    if now < pool.grow_at:
        return pool
    pool = replace(pool, grow_at=None)
    pool, shortfall = _fill_enis(pool, census, shortfall, now)
    shortfall -= _promised_room(pool, now)
    return _create_enis(pool, shortfall, now)


def _headroom(pool: Pool) -> int:
    """Return how many a call may bring beyond what is needed, without a later trim."""
    return max(0, pool.config.max_free - pool.config.min_free)


def _fill_enis(
    pool: Pool, census: Mapping[ENIId, ENITally], shortfall: int, now: float
) -> tuple[Pool, int]:
    for eni in sorted(staying(pool), key=lambda e: (-census[e.id].usable_pairs, e.id)):
        if shortfall <= 0:
            break
        if can_assign(pool, eni, now):
            room = _room_for_pairs(pool, census[eni.id])
            wanted = min(room, shortfall + _headroom(pool), _supply(pool, eni))
            pool = _assign(pool, eni, census[eni.id], wanted)
            shortfall -= wanted
    return pool, shortfall


def _supply(pool: Pool, eni: PoolENI) -> int:
    """Return what the ENI's vSwitch may be asked for: more than it has is refused whole.

    At least one: others may have given addresses back since it was read.
    """
    state = pool.vswitches.get(eni.vswitch_id)
    if state is None or Family.V4 not in pool.config.families:
        return BATCH
    return max(1, state.available)


def is_growable(pool: Pool, eni: PoolENI, now: float) -> bool:
    """Return whether the cloud may be expected to give this ENI more addresses."""
    vswitch = pool.vswitches.get(eni.vswitch_id)
    return now >= eni.grow_after and not (vswitch is not None and vswitch.is_held(now))


def can_assign(pool: Pool, eni: PoolENI, now: float) -> bool:
    """Return whether an assignment can be asked for now: one thing at a time for an ENI."""
    return (
        eni.phase is ENIPhase.IN_USE
        and is_growable(pool, eni, now)
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
        + max(0, min(BATCH, pool.config.per_eni(family) - tally.of(family).total))
        for family in pool.config.families
    )
    return min(spare)


def _assign(pool: Pool, eni: PoolENI, tally: ENITally, pairs: int) -> Pool:
    for family in pool.config.families:
        count = tally.usable_pairs + pairs - tally.of(family).usable
        if pairs > 0 and count > 0:
            pool, token = pool.new_token()
            intent = AssignIntent(token=token, eni_id=eni.id, family=family, count=count)
            pool = _account(pool.with_intent(intent), eni.vswitch_id, family, count)
    return pool


def _account(pool: Pool, vswitch_id: VSwitchId, family: Family, count: int) -> Pool:
    """Count IPv4 addresses down in what is known of the vSwitch; IPv6 never runs out."""
    state = pool.vswitches.get(vswitch_id)
    if state is None or family is Family.V6:
        return pool
    return pool.with_vswitch(state.taking(count))


def _promised_room(pool: Pool, now: float) -> int:
    """Return the pairs that ENIs will have room for which are busy or on their way."""
    census = take_census(pool)
    full = pool.config.pods_per_eni
    busy = (
        full - census[eni.id].usable_pairs
        for eni in staying(pool)
        if is_growable(pool, eni, now) and not can_assign(pool, eni, now)
    )
    coming = (full - min(map(one.count, pool.config.families)) for one in pool.creates)
    return sum(max(0, room) for room in (*busy, *coming))


def free_eni_slots(pool: Pool) -> int:
    """Return how many more ENIs may be created now."""
    taken = len(pool.enis) + len(pool.creates)
    return min(pool.config.max_enis, pool.config.eni_slots - pool.foreign_enis) - taken


def is_create_held(pool: Pool, now: float) -> bool:
    """Return whether creating an ENI was refused not long ago."""
    return pool.create_hold is not None and now < pool.create_hold.until


def _create_enis(pool: Pool, shortfall: int, now: float) -> Pool:
    if not pool.is_observed:  # ENIs may be attached that nobody told us of
        return pool
    while shortfall > 0 and free_eni_slots(pool) > 0 and not is_create_held(pool, now):
        choice = choose_vswitch(pool.config, pool.vswitches, draw=pool.tokens_made, now=now)
        if _needs_fresh_look(pool, choice if isinstance(choice, VSwitchState) else None, now):
            return replace(pool, vswitch_watch=replace(pool.vswitch_watch, due_at=now))
        if not isinstance(choice, VSwitchState):
            return pool
        pool = _create(pool, choice, min(shortfall + _headroom(pool), pool.config.pods_per_eni))
        shortfall -= pool.config.pods_per_eni
    return pool


def _needs_fresh_look(pool: Pool, choice: VSwitchState | None, now: float) -> bool:
    """Return whether to read the vSwitches before an ENI is created: rare, and one call each.

    A reading that failed is not waited for: old figures are better than none.
    """
    if pool.vswitch_watch.is_running or pool.vswitch_watch.failures:
        return pool.vswitch_watch.is_running
    if choice is not None:
        return now - choice.read_at > pool.config.vswitch_ttl_s
    oldest = min((s.read_at for s in pool.vswitches.values()), default=None)
    return not pool.vswitches_read or (
        oldest is not None and now - oldest > pool.config.vswitch_ttl_s
    )


def _create(pool: Pool, vswitch: VSwitchState, pairs: int) -> Pool:
    config = pool.config
    count = max(1, min(pairs, BATCH, vswitch.available))
    pool, token = pool.new_token()
    marks = ((INSTANCE_TAG, str(config.instance_id)), (INTENT_TAG, str(token)))
    intent = CreateIntent(
        token=token,
        vswitch_id=vswitch.vswitch.id,
        security_group_ids=config.security_group_ids,
        tags=(*dict((*config.eni_tags, CREATOR_TAG, *marks)).items(),),
        resource_group_id=config.resource_group_id,
        ipv4_count=count if Family.V4 in config.families else 1,
        ipv6_count=count if Family.V6 in config.families else 0,
    )
    pool = pool.with_vswitch(vswitch.taking(intent.ipv4_count))
    return pool.with_intent(intent)
