"""How many addresses has a vSwitch left for us?

The cloud tells it seldom, so we count along: what it gave is subtracted, what it took back is
added. What has been asked for and not answered is reserved, and so not promised twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from terway.ipam.pool import Pool
from terway.ipam.settings import IPV4_PER_PREFIX
from terway.ipam.values import CreateIntent, Hold, Intent, VSwitchState
from terway.model.address import Family, IPAddress, IPNetwork, family_of
from terway.model.ids import VSwitchId


def stock(pool: Pool) -> Mapping[VSwitchId, VSwitchState]:
    """Return what is known of the vSwitches, less what is reserved."""
    taken = reserved(pool)
    if not taken:
        return pool.vswitches
    return {key: one.taking(taken[key]) for key, one in pool.vswitches.items()}


def reserved(pool: Pool) -> Counter[VSwitchId]:
    """Return how many addresses have been asked of each vSwitch and not been answered."""
    found: Counter[VSwitchId] = Counter()
    for intent in pool.intents.values():
        found[_source(pool, intent)] += _weight(intent)
    return found


def available_in(pool: Pool, vswitch_id: VSwitchId) -> int | None:
    """Return how many addresses may be asked for; None when nobody told."""
    state = stock(pool).get(vswitch_id)
    return None if state is None else state.available


def least_asked(pool: Pool) -> int:
    """Return how much may be asked of a vSwitch that is believed empty."""
    return 0 if pool.config.is_supplier else 1


def is_held(pool: Pool, vswitch_id: VSwitchId, now: float, *, by_prefix: bool) -> bool:
    """Return whether the cloud said, not long ago, that there is nothing left."""
    state = pool.vswitches.get(vswitch_id)
    if state is None:
        return False
    return state.is_held(now) or (by_prefix and state.is_prefix_held(now))


def is_stale(pool: Pool, vswitch_id: VSwitchId, now: float) -> bool:
    """Return whether a vSwitch is to be read before an ENI is made of it: an empty one sooner.

    One that was asked about and not told of is not asked about again at once.
    """
    state = pool.vswitches.get(vswitch_id)
    if state is None:
        return True
    seen_at = max(state.read_at, pool.vswitches_asked.get(vswitch_id, state.read_at))
    is_empty = state.available <= 0
    return now - seen_at >= (pool.config.vswitch_doubt_s if is_empty else pool.config.vswitch_ttl_s)


def doubt(pool: Pool, vswitch_id: VSwitchId, now: float) -> Pool:
    """Have a vSwitch read again that is believed empty, unless it was just now."""
    watch = pool.vswitch_watch
    if watch.is_running or watch.failures or not is_stale(pool, vswitch_id, now):
        return pool
    return replace(pool, vswitch_watch=replace(watch, due_at=min(now, watch.due_at)))


def _source(pool: Pool, intent: Intent) -> VSwitchId:
    if isinstance(intent, CreateIntent):
        return intent.vswitch_id
    return pool.enis[intent.eni_id].vswitch_id


def _weight(intent: Intent) -> int:
    """Return how many IPv4 addresses an intent takes; IPv6 never runs out."""
    if isinstance(intent, CreateIntent):
        return intent.ipv4_count + intent.ipv4_prefixes * IPV4_PER_PREFIX
    if intent.family is Family.V6:
        return 0
    return intent.count * (IPV4_PER_PREFIX if intent.is_prefix else 1)


def credit(pool: Pool, vswitch_id: VSwitchId, given_back: Iterable[IPAddress | IPNetwork]) -> Pool:
    """Count what a vSwitch got back."""
    return _change(pool, vswitch_id, -count_ipv4(given_back))


def debit(pool: Pool, vswitch_id: VSwitchId, given: Iterable[IPAddress | IPNetwork]) -> Pool:
    """Count what a vSwitch gave."""
    return _change(pool, vswitch_id, count_ipv4(given))


def count_ipv4(things: Iterable[IPAddress | IPNetwork]) -> int:
    """Return how many IPv4 addresses there are in addresses and ranges."""
    return sum(getattr(one, "num_addresses", 1) for one in things if family_of(one) is Family.V4)


def _change(pool: Pool, vswitch_id: VSwitchId, count: int) -> Pool:
    state = pool.vswitches.get(vswitch_id)
    return pool if state is None or not count else pool.with_vswitch(state.taking(count))


def hold(pool: Pool, vswitch_id: VSwitchId, reason: str, now: float, *, by_prefix: bool) -> Pool:
    """Believe the cloud that a vSwitch has no address, or no prefix, left."""
    state = pool.vswitches.get(vswitch_id)
    if state is None:
        return pool
    held = Hold(until=now + pool.config.vswitch_hold_s, reason=reason)
    state = replace(state, prefix_hold=held) if by_prefix else replace(state, hold=held)
    return pool.with_vswitch(state)
