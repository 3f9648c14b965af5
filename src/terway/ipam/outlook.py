"""Can a pod that asks now hope for an address, and if not, why?

Whoever cannot be served by what is there, what is coming and what may still be asked for is told
so at once: waiting for the runtime's timeout helps nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terway.ipam.census import staying, take_census
from terway.ipam.choice import NoVSwitch
from terway.ipam.commands import Refuse
from terway.ipam.creation import has_unseen_vswitch, is_create_held, pick_vswitch
from terway.ipam.demand import coming_pairs, pods_served, ready_pairs
from terway.ipam.fit import ORDINARY, serves, will_serve
from terway.ipam.growth import is_growable, room_left
from terway.ipam.pool import NEVER, Pool
from terway.ipam.prefixes import prefixes_lacking
from terway.ipam.settings import PREFIX_ADDRESSES
from terway.ipam.values import PoolENI
from terway.model.attachment import AttachmentKey
from terway.model.interface import Placement

_FULL_RETRY_S = 5.0  # for a full node: pods must go first, nobody knows when


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How many more pods can be served, now or after calls; `reason` says why not more."""

    pairs: int
    reason: str
    retry_after_s: float


def look_ahead(pool: Pool, now: float, wish: Placement = ORDINARY) -> Outlook:
    """Return what the pool can hope for, without the pods that wait already."""
    if pool.config.is_supplied:
        return _hope_for_supply(pool, wish)
    census = take_census(pool)
    by_prefix = pool.config.has_prefixes and wish == ORDINARY
    pairs = ready_pairs(pool, census, wish)
    holds: list[tuple[str, float]] = []
    room = 0
    for eni in staying(pool):
        left = room_left(pool, census[eni.id]) if serves(pool.config, eni, wish) else 0
        if left and not is_growable(pool, eni, now, by_prefix=by_prefix):
            holds.append(_why_not_growable(pool, eni, now, by_prefix=by_prefix))
        else:
            room += left
    new, refusal = _new_enis(pool, wish, now, by_prefix=by_prefix)
    holds += refusal
    if by_prefix:
        pairs += _pairs_of_prefixes(pool, room, new)
    else:
        full = pool.config.pods_per_eni
        coming = (
            full - coming_pairs(pool, one)
            for one in pool.creates
            if will_serve(pool.config, one, wish)
        )
        pairs += room + sum(map(_at_least_none, coming)) + new * full
    return _outlook(pool, pairs, holds, now)


def _hope_for_supply(pool: Pool, wish: Placement) -> Outlook:
    """Return what one may hope for whom somebody else supplies: all that the node can have.

    Unless the supplier says that he has no more.
    """
    census = take_census(pool)
    pairs, reason = ready_pairs(pool, census, wish), pool.no_supply
    if not reason and (wish.vswitch_ids or wish.security_group_ids):
        reason = "no ENI of this node fits what the pod asks for: give it a PodNetworking"
    elif not reason:
        pairs = max(pairs, pool.config.capacity - pods_served(pool, census))
        reason = _why_full(pool)
    return Outlook(pairs=pairs, reason=reason, retry_after_s=_FULL_RETRY_S)


def _at_least_none(count: int) -> int:
    return max(0, count)


def _pairs_of_prefixes(pool: Pool, room: int, new_enis: int) -> int:
    """Return how many pods the prefixes will serve that are still to be asked for."""
    lacking = prefixes_lacking(pool, take_census(pool))
    possible = room + new_enis * pool.config.prefixes_per_eni
    possible += sum(
        pool.config.prefixes_per_eni - one.prefixes(pool.config.families[0]) for one in pool.creates
    )
    return min(lacking, possible) * PREFIX_ADDRESSES[pool.config.families[0]]


def _outlook(pool: Pool, pairs: int, holds: list[tuple[str, float]], now: float) -> Outlook:
    if not pool.config.capacity:
        return Outlook(pairs=pairs, reason=_why_none(pool), retry_after_s=_FULL_RETRY_S)
    if not holds:
        return Outlook(pairs=pairs, reason=_why_full(pool), retry_after_s=_FULL_RETRY_S)
    until = min(when for _, when in holds)
    after = _FULL_RETRY_S if until == NEVER else max(1.0, until - now)
    reason = "; ".join(dict.fromkeys(why for why, _ in holds))
    return Outlook(pairs=pairs, reason=reason, retry_after_s=after)


def _why_none(pool: Pool) -> str:
    if pool.config.has_prefixes and not pool.config.prefixes:
        return "eni_conf has enable_ip_prefix, but ipv4_prefix_count and ipv6_prefix_count are 0"
    return "the instance type and eni_conf leave this node no ENI for pods"


def _why_full(pool: Pool) -> str:
    capacity, count = pool.config.capacity, pool.config.prefixes
    if pool.config.has_prefixes:
        return f"all {capacity} addresses of this node's {count} prefixes are in use"
    if pool.config.pods_per_eni == 1:
        return f"all {capacity} ENIs of this node have their pod ({_formula(pool)})"
    return f"all {capacity} addresses of this node's ENIs are in use"


def _formula(pool: Pool) -> str:
    """Return how many ENIs pods may have, with the values."""
    slots = pool.config.eni_slots
    counted = f"EniQuantity - 1 = {slots + 1} - 1"
    if pool.config.max_enis < slots:
        counted += f", of which eni_conf allows {pool.config.max_enis}"
    if pool.config.pod_enis:
        counted += f", of which single pods have {pool.config.pod_enis} whole"
    return counted


def _why_not_growable(
    pool: Pool, eni: PoolENI, now: float, *, by_prefix: bool
) -> tuple[str, float]:
    state = pool.vswitches.get(eni.vswitch_id)
    if state is not None and state.hold is not None and state.is_held(now):
        return f"{eni.vswitch_id} has no free address: {state.hold.reason}", state.hold.until
    if by_prefix and state is not None and state.prefix_hold and state.is_prefix_held(now):
        held = state.prefix_hold
        return f"{eni.vswitch_id} has no free prefix: {held.reason}", held.until
    return f"{eni.id} was refused more addresses", eni.grow_after


def _new_enis(
    pool: Pool, wish: Placement, now: float, *, by_prefix: bool
) -> tuple[int, list[tuple[str, float]]]:
    """Return how many ENIs may still be created, and what stands in the way of more.

    ENIs on their way out leave room for others.
    """
    allowed = _slots_in_time(pool, wish)
    if allowed <= 0:
        return 0, _why_no_slot(pool, wish)
    if pool.create_hold is not None and is_create_held(pool, now):
        return 0, [(f"no ENI can be created: {pool.create_hold.reason}", pool.create_hold.until)]
    if not pool.vswitches_read or has_unseen_vswitch(pool, wish, now):
        return allowed, []
    choice = pick_vswitch(pool, wish, now, draw=0, by_prefix=by_prefix)
    if isinstance(choice, NoVSwitch):
        return 0, [(f"no vSwitch for another ENI: {choice.reason}", choice.retry_at)]
    return allowed, []


def _slots_in_time(pool: Pool, wish: Placement) -> int:
    config = pool.config
    kinds = [eni.is_erdma for eni in pool.enis.values() if not eni.phase.is_leaving]
    kinds += [intent.is_erdma for intent in pool.creates]
    left_for_erdma = max(0, config.erdma_enis - sum(kinds))
    left = pool.eni_limit - len(kinds)
    return min(left, left_for_erdma) if wish.is_erdma else left - left_for_erdma


def _why_no_slot(pool: Pool, wish: Placement) -> list[tuple[str, float]]:
    if wish == ORDINARY:
        return []
    if wish.is_erdma and not pool.config.erdma_enis:
        return [("this node has no ENI for RDMA: enable_erdma in eni_conf, and the type", NEVER)]
    return [("no ENI fits what the pod asks for, and the node has all the ENIs it can have", NEVER)]


def refuse(pool: Pool, now: float) -> tuple[Pool, tuple[Refuse, ...]]:
    """Send away those who came last and cannot hope, wish by wish."""
    if not pool.waiting:
        return pool, ()
    refusals: list[Refuse] = []
    for wish in dict.fromkeys(pool.waiting.values()):
        outlook = look_ahead(pool, now, wish)
        mine = [owner for owner, its in pool.waiting.items() if its == wish]
        refusals += (_refusal(owner, outlook) for owner in mine[max(0, outlook.pairs) :])
    if not refusals:
        return pool, ()
    gone = {one.owner for one in refusals}
    waiting = {owner: wish for owner, wish in pool.waiting.items() if owner not in gone}
    return replace(pool, waiting=waiting), tuple(refusals)


def _refusal(owner: AttachmentKey, outlook: Outlook) -> Refuse:
    return Refuse(owner=owner, reason=outlook.reason, retry_after_s=outlook.retry_after_s)
