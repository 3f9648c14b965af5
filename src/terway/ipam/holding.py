"""What is true of addresses that somebody else gives to pods, and when may one be taken back?

    FREE, BOUND, COOLING ◄──what the other side says it holds
    RETIRING ──number──► asked ──"released" with that number──► released ──► unassigned
        ▲                  │
        └── FREE … ◄───────┘ "held": the wish is dropped, and its number with it

An answer counts only for the wish that it was given to, so neither an old answer nor an old
cache takes an address away. What was released stays so: the call may have been made by then.
A whole ENI goes when all that it has was released; until then a single pod on it keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from terway.ipam.events import Expected, Holding
from terway.ipam.matching import PrefixIndex
from terway.ipam.pool import NEVER, Pool
from terway.ipam.values import AddressPhase, Attempt, ENIPhase, PoolENI, Prefix, PrefixPhase, Slot
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import AttachmentKey
from terway.model.ids import ContainerId, ENIId

HOLDER = AttachmentKey(container_id=ContainerId("held elsewhere"), ifname="")


def expected(pool: Pool, event: Expected, now: float) -> Pool:
    """Take over who is on his way."""
    wishes = {wish: count for wish, count in event.wishes.items() if count > 0}
    if wishes == pool.expected:
        return pool
    return replace(pool, expected=wishes, touched_at=now)


def holding(pool: Pool, event: Holding, now: float) -> Pool:
    """Take over what is held, and what was released."""
    pool = _released(pool, event.released)
    if event.held == pool.held:
        return pool
    return replace(pool, held=dict(event.held), touched_at=now)


def _released(pool: Pool, released: Mapping[IPAddress | IPNetwork, int]) -> Pool:
    slots = [s for s in pool.slots.values() if _is_answer(s, released.get(s.address))]
    prefixes = [p for p in pool.prefixes.values() if _is_answer(p, released.get(p.network))]
    if slots:
        pool = pool.with_slots(replace(slot, is_released=True) for slot in slots)
    if prefixes:
        pool = pool.with_prefixes(replace(one, is_released=True) for one in prefixes)
    return pool


def _is_answer(thing: Slot | Prefix, number: int | None) -> bool:
    return thing.recall != 0 and number == thing.recall and not thing.is_released


def place_held(pool: Pool) -> Pool:
    """Let each address be what the other side says of it; recalls of what is held are dropped."""
    if not pool.config.is_supplier:
        return pool
    pool = _keep_enis(pool)
    pool = _enter_inner(pool) if pool.prefixes else pool
    changed = [new for slot in pool.slots.values() if (new := _placed(pool, slot)) is not slot]
    if not changed:
        return pool
    dropped = sum(not slot.recall and pool.slots[slot.address].recall > 0 for slot in changed)
    gone = [s.address for s in changed if s.prefix is not None and s.phase is AddressPhase.FREE]
    pool = replace(pool.with_slots(changed), recalls=pool.recalls + (1 if dropped else 0))
    return pool.without_slots(gone) if gone else pool


def _placed(pool: Pool, slot: Slot) -> Slot:
    by_pod = pool.held.get(slot.address)
    if slot.phase is AddressPhase.RETIRING and (by_pod is None or slot.is_released):
        return slot
    if by_pod is None:
        phase, owner, until = AddressPhase.FREE, None, 0.0
    elif by_pod:
        phase, owner, until = AddressPhase.BOUND, HOLDER, 0.0
    else:
        phase, owner, until = AddressPhase.COOLING, None, NEVER
    if slot.phase is phase and not slot.recall:
        return slot
    return replace(slot, phase=phase, owner=owner, rests_until=until, recall=0)


def _enter_inner(pool: Pool) -> Pool:
    """Have slots of the addresses that are held of prefixes."""
    ranges = PrefixIndex(pool.prefixes)
    new = []
    for address in pool.held.keys() - pool.slots.keys():
        network = ranges.of(address)
        if network is not None:
            eni_id = pool.prefixes[network].eni_id
            new.append(Slot(address=address, eni_id=eni_id, prefix=network))
    return pool.with_slots(new) if new else pool


def _keep_enis(pool: Pool) -> Pool:
    """Keep the ENIs that were to go, if something of them was given away meanwhile."""
    for eni in tuple(pool.enis.values()):
        leaving = eni.phase is ENIPhase.DETACHING and not is_all_released(pool, eni.id)
        if leaving and any(slot.address in pool.held for slot in pool.slots_of(eni.id)):
            pool = _keep(pool, eni)
    return pool


def _keep(pool: Pool, eni: PoolENI) -> Pool:
    """Take every wish for an ENI's addresses back; no call was made, for not all was released."""
    kept: dict[str, Any] = {"recall": 0, "is_released": False}
    slots = [replace(s, phase=AddressPhase.FREE, **kept) for s in pool.slots_of(eni.id)]
    prefixes = [replace(p, phase=PrefixPhase.VALID, **kept) for p in pool.prefixes_of(eni.id)]
    pool = pool.with_eni(replace(eni, phase=ENIPhase.IN_USE, attempt=Attempt()))
    return replace(pool.with_slots(slots).with_prefixes(prefixes), recalls=pool.recalls + 1)


def number_recalls(pool: Pool) -> Pool:
    """Give the wishes of this step their number."""
    if not pool.config.is_supplier:
        return pool
    leaving = {eni.id for eni in pool.enis.values() if eni.phase.is_leaving}
    slots = [s for s in pool.slots.values() if not s.recall and _is_unwanted(s, leaving)]
    prefixes = [p for p in pool.prefixes.values() if not p.recall and _is_wanted(p, leaving)]
    if not slots and not prefixes:
        return pool
    number = pool.recalls + 1
    retiring = AddressPhase.RETIRING
    pool = pool.with_slots(replace(slot, phase=retiring, recall=number) for slot in slots)
    pool = pool.with_prefixes(replace(one, recall=number) for one in prefixes)
    return replace(pool, recalls=number)


def _is_unwanted(slot: Slot, leaving: Collection[ENIId]) -> bool:
    if slot.is_released:
        return False
    is_free = slot.phase is AddressPhase.FREE and slot.eni_id in leaving
    return slot.phase is AddressPhase.RETIRING or is_free


def _is_wanted(prefix: Prefix, leaving: Collection[ENIId]) -> bool:
    if prefix.is_released:
        return False
    return prefix.phase is PrefixPhase.RETIRING or prefix.eni_id in leaving


def is_all_released(pool: Pool, eni_id: ENIId) -> bool:
    """Return whether nothing of an ENI is with anybody: then it may be detached."""
    prefixes = all(one.is_released for one in pool.prefixes_of(eni_id))
    return prefixes and all(slot.is_released for slot in pool.slots_of(eni_id))


def may_take(pool: Pool, thing: Slot | Prefix) -> bool:
    """Return whether the cloud may be asked to take `thing` from its ENI."""
    return thing.is_released or not pool.config.is_supplier
