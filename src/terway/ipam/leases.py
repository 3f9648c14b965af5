"""Who gets which address, who gives one back, and when may it be given again?

An owner has an address of each family, all of one ENI: the pod's routes leave through it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from terway.ipam.census import ENITally, take_census
from terway.ipam.commands import Bind, FlushConntrack
from terway.ipam.pool import Pool
from terway.ipam.settings import ENIPolicy
from terway.ipam.values import AddressPhase, ENIPhase, PoolENI, Slot
from terway.model.address import Family, IPAddress, IPPair, family_of
from terway.model.attachment import AttachmentKey, Lease
from terway.model.ids import ENIId


def acquire(pool: Pool, owner: AttachmentKey, now: float) -> tuple[Pool, tuple[Bind, ...]]:
    """Let `owner` wait for its turn, unless it has or waits already."""
    held = pool.held_by(owner)
    if held:
        return pool, (Bind(owner=owner, lease=_lease(pool, held)),)
    if owner in pool.waiting:
        return pool, ()
    return replace(pool, waiting=(*pool.waiting, owner), touched_at=now), ()


def withdraw(pool: Pool, owner: AttachmentKey) -> Pool:
    """Forget that `owner` waits; what it was given meanwhile was never used and is free."""
    pool = replace(pool, waiting=tuple(one for one in pool.waiting if one != owner))
    return _give_back(pool, owner, AddressPhase.FREE, None)


def release(pool: Pool, owner: AttachmentKey, now: float) -> Pool:
    """Let the addresses of `owner` rest: the kernel may still know connections of theirs."""
    until = now + pool.config.cooldown_s
    return replace(_give_back(pool, owner, AddressPhase.COOLING, until), touched_at=now)


def _give_back(
    pool: Pool, owner: AttachmentKey, phase: AddressPhase, rests_until: float | None
) -> Pool:
    held = pool.held_by(owner)
    back = [
        replace(
            slot,
            phase=phase,
            owner=None,
            rests_until=slot.rests_until if rests_until is None else rests_until,
        )
        for slot in held
        if not slot.is_missing
    ]
    return pool.without_slots(s.address for s in held if s.is_missing).with_slots(back)


def end_rests(pool: Pool, now: float) -> Pool:
    """Free what has rested long enough."""
    rested = [
        replace(slot, phase=AddressPhase.FREE, is_flushing=False)
        for slot in pool.slots.values()
        if slot.phase is AddressPhase.COOLING and slot.rests_until <= now
    ]
    return pool.with_slots(rested) if rested else pool


def cleared(pool: Pool, addresses: Iterable[IPAddress]) -> Pool:
    """Free addresses that the kernel no longer remembers."""
    found = filter(None, map(pool.slots.get, addresses))
    return pool.with_slots(
        replace(slot, phase=AddressPhase.FREE, is_flushing=False)
        for slot in found
        if slot.phase is AddressPhase.COOLING and slot.is_flushing
    )


def kept(pool: Pool, addresses: Iterable[IPAddress], retry_at: float) -> Pool:
    """Go on waiting for addresses whose entries could not be deleted."""
    found = filter(None, map(pool.slots.get, addresses))
    slots = [replace(slot, is_flushing=False) for slot in found]
    return replace(pool.with_slots(slots), flush_after=retry_at)


def grant(pool: Pool) -> tuple[Pool, tuple[Bind, ...]]:
    """Give free addresses to those who wait, first come first served."""
    if not pool.waiting:
        return pool, ()
    shelves = _shelves(pool)
    bound: list[Slot] = []
    binds: list[Bind] = []
    for owner in pool.waiting:
        slots = _take(shelves)
        if slots is None:
            break
        bound += (replace(s, phase=AddressPhase.BOUND, owner=owner) for s in slots)
        binds.append(Bind(owner=owner, lease=_lease(pool, slots)))
    pool = replace(pool.with_slots(bound), waiting=pool.waiting[len(binds) :])
    return pool, tuple(binds)


# For each family the free slots of one ENI, the one that rested longest at the end.
_Shelf = dict[Family, list[Slot]]


def _shelves(pool: Pool) -> list[_Shelf]:
    by_eni: dict[ENIId, _Shelf] = {
        eni.id: {family: [] for family in pool.config.families} for eni in _by_preference(pool)
    }
    for slot in pool.slots.values():
        shelf = by_eni.get(slot.eni_id, {})
        # An address may be of a family that pods no longer get, after a change of ip_stack.
        if slot.phase is AddressPhase.FREE and family_of(slot.address) in shelf:
            shelf[family_of(slot.address)].append(slot)
    for shelf in by_eni.values():
        for slots in shelf.values():
            slots.sort(key=lambda s: (s.rests_until, int(s.address)), reverse=True)
    return list(by_eni.values())


def _by_preference(pool: Pool) -> list[PoolENI]:
    """Return the ENIs in use, the one to take from first."""
    census = take_census(pool)
    sign = -1 if pool.config.eni_policy is ENIPolicy.MOST_IPS else 1

    def rank(eni: PoolENI) -> tuple[int, int, str]:
        tally: ENITally = census[eni.id]
        return sign * tally.usable_pairs, sign * (tally.v4.bound + tally.v6.bound), eni.id

    in_use = (eni for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE)
    return sorted(in_use, key=rank)


def _take(shelves: list[_Shelf]) -> tuple[Slot, ...] | None:
    shelf = next((one for one in shelves if all(one.values())), None)
    return None if shelf is None else tuple(slots.pop() for slots in shelf.values())


def _lease(pool: Pool, slots: tuple[Slot, ...]) -> Lease:
    addresses = [slot.address for slot in slots]
    eni = pool.enis[slots[0].eni_id]
    return Lease(
        eni_id=eni.id,
        eni_mac=eni.mac,
        addresses=IPPair(
            v4=next((ip for ip in addresses if isinstance(ip, IPv4Address)), None),
            v6=next((ip for ip in addresses if isinstance(ip, IPv6Address)), None),
        ),
    )


def plan_flush(pool: Pool, now: float) -> tuple[Pool, tuple[FlushConntrack, ...]]:
    """Have the kernel forget the longest-resting addresses, as many as are waited for.

    That costs no cloud call, so it comes before growth. The rest itself is for the case that
    nobody waits.
    """
    if not pool.waiting or now < pool.flush_after:
        return pool, ()
    cooling = sorted(_cooling(pool), key=lambda s: (s.rests_until, int(s.address)))
    chosen: list[Slot] = []
    for family in pool.config.families:
        mine = [slot for slot in cooling if family_of(slot.address) is family]
        flushing = sum(slot.is_flushing for slot in mine)
        still = [slot for slot in mine if not slot.is_flushing]
        chosen += still[: max(0, len(pool.waiting) - flushing)]
    if not chosen:
        return pool, ()
    pool = pool.with_slots(replace(slot, is_flushing=True) for slot in chosen)
    return pool, (FlushConntrack(addresses=tuple(slot.address for slot in chosen)),)


def _cooling(pool: Pool) -> Iterable[Slot]:
    in_use = {eni.id for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE}
    return (
        slot
        for slot in pool.slots.values()
        if slot.phase is AddressPhase.COOLING and slot.eni_id in in_use
    )
