"""Who gets which address, and who gives one back?

An owner has an address of each family, all of one ENI: the pod's routes leave through it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from terway.ipam.commands import Bind
from terway.ipam.fit import serves
from terway.ipam.pool import Pool
from terway.ipam.shelves import Shelf, fill_shelves
from terway.ipam.values import AddressPhase, Slot
from terway.model.address import IPPair
from terway.model.attachment import AttachmentKey, Lease
from terway.model.interface import Placement


def acquire(
    pool: Pool, owner: AttachmentKey, wish: Placement, now: float
) -> tuple[Pool, tuple[Bind, ...]]:
    """Let `owner` wait for its turn, unless it has or waits already."""
    held = pool.held_by(owner)
    if held:
        return pool, (Bind(owner=owner, lease=_lease(pool, held)),)
    if owner in pool.waiting:
        return pool, ()
    return replace(pool, waiting={**pool.waiting, owner: wish}, touched_at=now), ()


def withdraw(pool: Pool, owner: AttachmentKey) -> Pool:
    """Forget that `owner` waits; what it was given meanwhile was never used and is free."""
    if owner in pool.waiting:
        left = {key: wish for key, wish in pool.waiting.items() if key != owner}
        pool = replace(pool, waiting=left)
    held = pool.held_by(owner)
    return free(_drop_missing(pool, held), [slot for slot in held if not slot.is_missing])


def release(pool: Pool, owner: AttachmentKey, now: float) -> Pool:
    """Let the addresses of `owner` rest: the kernel may still know connections of theirs."""
    held = pool.held_by(owner)
    until = now + pool.config.cooldown_s
    back = [
        replace(slot, phase=AddressPhase.COOLING, owner=None, rests_until=until)
        for slot in held
        if not slot.is_missing
    ]
    return replace(_drop_missing(pool, held).with_slots(back), touched_at=now)


def _drop_missing(pool: Pool, held: Iterable[Slot]) -> Pool:
    missing = [slot.address for slot in held if slot.is_missing]
    return pool.without_slots(missing) if missing else pool


def free(pool: Pool, slots: Iterable[Slot]) -> Pool:
    """Let addresses be given to anybody; one of a prefix needs no slot for that."""
    singles = []
    inner = []
    for slot in slots:
        if slot.prefix is None:
            fresh = replace(slot, phase=AddressPhase.FREE, owner=None, is_flushing=False)
            singles.append(fresh)
        else:
            inner.append(slot.address)
    if inner:
        pool = pool.without_slots(inner)
    return pool.with_slots(singles) if singles else pool


def grant(pool: Pool, now: float) -> tuple[Pool, tuple[Bind, ...]]:
    """Give free addresses to those who wait: of those with the same wish, the first comes first."""
    if not pool.waiting:
        return pool, ()
    shelves = fill_shelves(pool, now)
    bound: list[Slot] = []
    binds: list[Bind] = []
    hopeless: set[Placement] = set()
    for owner, wish in pool.waiting.items():
        slots = None if wish in hopeless else _take(pool, shelves, wish)
        if slots is None:
            hopeless.add(wish)
            continue
        bound += (replace(s, phase=AddressPhase.BOUND, owner=owner) for s in slots)
        binds.append(Bind(owner=owner, lease=_lease(pool, slots)))
    if not binds:
        return pool, ()
    served = {bind.owner for bind in binds}
    waiting = {owner: wish for owner, wish in pool.waiting.items() if owner not in served}
    return replace(pool.with_slots(bound), waiting=waiting), tuple(binds)


def _take(pool: Pool, shelves: list[Shelf], wish: Placement) -> tuple[Slot, ...] | None:
    for shelf in shelves:
        if serves(pool.config, shelf.eni, wish):
            slots = shelf.take()
            if slots is not None:
                return slots
    return None


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
