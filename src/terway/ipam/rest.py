"""When may an address be given again? When the kernel remembers nothing of its last owner.

Time alone does not tell: an established connection is remembered for days, and each packet of a
peer that does not know better prolongs that. So every address is flushed before it is given
again: when its rest is over, or earlier when somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from terway.ipam.commands import FlushConntrack
from terway.ipam.fit import serves
from terway.ipam.leases import free
from terway.ipam.pool import Pool
from terway.ipam.values import AddressPhase, ENIPhase, Slot
from terway.model.address import IPAddress, family_of

# A flush reads the whole table, so rests that end together are ended together.
_PAUSE_S = 1.0


def cleared(pool: Pool, addresses: Iterable[IPAddress]) -> Pool:
    """Free addresses that the kernel no longer remembers."""
    found = filter(None, map(pool.slots.get, addresses))
    return free(
        pool, [one for one in found if one.phase is AddressPhase.COOLING and one.is_flushing]
    )


def kept(pool: Pool, addresses: Iterable[IPAddress], retry_at: float) -> Pool:
    """Go on waiting for addresses whose entries could not be deleted."""
    found = filter(None, map(pool.slots.get, addresses))
    slots = [replace(slot, is_flushing=False) for slot in found]
    return replace(pool.with_slots(slots), flush_after=retry_at, flush_held=True)


def plan_flush(pool: Pool, now: float) -> tuple[Pool, tuple[FlushConntrack, ...]]:
    """Have the kernel forget the addresses whose rest is over, and those that are waited for.

    That costs no cloud call, so it comes before growth. The rest itself is for the case that
    nobody waits. One at a time: who comes while one runs shares the next.
    """
    cooling = [s for s in pool.slots.values() if s.phase is AddressPhase.COOLING]
    if not cooling or any(slot.is_flushing for slot in cooling):
        return pool, ()  # the answer to the one that runs brings us here again
    is_paused = now < pool.flush_after
    if is_paused and (pool.flush_held or not pool.waiting):
        return pool, ()
    rested = [] if is_paused else [slot for slot in cooling if slot.rests_until <= now]
    chosen = {slot.address: slot for slot in (*rested, *_wanted(pool, cooling))}
    if not chosen:
        return pool, ()
    pool = pool.with_slots(replace(slot, is_flushing=True) for slot in chosen.values())
    flush_after = now + _PAUSE_S if rested else pool.flush_after
    pool = replace(pool, flush_after=flush_after, flush_held=False)
    return pool, (FlushConntrack(addresses=tuple(chosen)),)


def _wanted(pool: Pool, cooling: list[Slot]) -> Iterator[Slot]:
    """Yield the longest-resting addresses, as many of each family as are waited for."""
    if not pool.waiting:
        return
    wishes = set(pool.waiting.values())
    fit = {
        eni.id
        for eni in pool.enis.values()
        if eni.phase is ENIPhase.IN_USE and any(serves(pool.config, eni, one) for one in wishes)
    }
    oldest = sorted(
        (s for s in cooling if s.eni_id in fit), key=lambda s: (s.rests_until, int(s.address))
    )
    for family in pool.config.families:
        mine = [slot for slot in oldest if family_of(slot.address) is family]
        yield from mine[: len(pool.waiting)]
