"""What changes when a call succeeded?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.ipam.adopt import enter, slots_for
from terway.ipam.events import (
    Assigned,
    AttachRequested,
    Created,
    Deleted,
    DetachRequested,
    LinkReady,
    Unassigned,
)
from terway.ipam.pool import Pool
from terway.ipam.values import AddressPhase, AssignIntent, Attempt, ENIPhase, PoolENI, Slot
from terway.model.address import Family, IPAddress, family_of
from terway.model.ids import ENIId, VSwitchId

Answer = Created | Assigned | AttachRequested | LinkReady | DetachRequested | Deleted | Unassigned


def answered(pool: Pool, event: Answer, now: float) -> Pool:  # noqa: PLR0911 - a branch per event
    """Take over the answer to a command."""
    match event:
        case Created():
            return _thriving(_created(pool, event, now))
        case Assigned():
            return _thriving(_assigned(pool, event, now))
        case AttachRequested():
            return _thriving(_move(pool, event.eni_id, now, is_requested=True))
        case LinkReady():
            return _link_ready(pool, event.eni_id, now)
        case DetachRequested():
            return _thriving(_detached(pool, event.eni_id, now))
        case Deleted():
            return _thriving(_deleted(pool, event.eni_id))
        case Unassigned():
            return _thriving(_unassigned(pool, event, now))


def _thriving(pool: Pool) -> Pool:
    """Return the pool after the cloud answered: more calls may be made."""
    return replace(pool, budget=pool.budget.answered())


def _created(pool: Pool, event: Created, now: float) -> Pool:
    pool = replace(pool.without_intent(event.token), create_hold=None)
    if event.eni.id in pool.enis:  # a reading of the cloud was faster
        return pool
    pool = pool.with_eni(enter(pool.config, event.eni, now))
    return pool.with_slots(slots_for(pool.config, event.eni, phase=AddressPhase.FREE))


def _assigned(pool: Pool, event: Assigned, now: float) -> Pool:
    intent = pool.intents.get(event.token)
    pool = pool.without_intent(event.token)
    if not isinstance(intent, AssignIntent):  # the ENI went meanwhile, and the intent with it
        return pool
    eni = pool.enis[intent.eni_id]
    new = (
        Slot(address=address, eni_id=eni.id)
        for address in event.addresses
        if address not in pool.slots
    )
    pool = pool.with_slots(new).with_eni(replace(eni, changed_at=now))
    lacking = intent.count - len(event.addresses) if intent.family is Family.V4 else 0
    return credit(pool, eni.vswitch_id, lacking)


def credit(pool: Pool, vswitch_id: VSwitchId, count: int) -> Pool:
    """Count IPv4 addresses back to a vSwitch."""
    state = pool.vswitches.get(vswitch_id)
    return pool if state is None or not count else pool.with_vswitch(state.taking(-count))


def _move(
    pool: Pool,
    eni_id: ENIId,
    now: float,
    *,
    phase: ENIPhase | None = None,
    due_at: float = 0.0,
    is_requested: bool = False,
) -> Pool:
    """Put an ENI where its operation has brought it; one that went meanwhile stays away."""
    eni = pool.enis.get(eni_id)
    if eni is None:
        return pool
    moved: PoolENI = replace(
        eni,
        phase=phase or eni.phase,
        attempt=Attempt(due_at=due_at),
        is_requested=is_requested,
        changed_at=now,
    )
    return pool.with_eni(moved)


def _link_ready(pool: Pool, eni_id: ENIId, now: float) -> Pool:
    eni = pool.enis.get(eni_id)
    if eni is None or eni.phase is not ENIPhase.ATTACHING or not eni.is_requested:
        return pool
    return _move(pool, eni_id, now, phase=ENIPhase.IN_USE)


def _detached(pool: Pool, eni_id: ENIId, now: float) -> Pool:
    due_at = now + pool.config.detach_s
    return _move(pool, eni_id, now, phase=ENIPhase.DELETING, due_at=due_at)


def _deleted(pool: Pool, eni_id: ENIId) -> Pool:
    eni = pool.enis.get(eni_id)
    if eni is None:
        return pool
    count = _count_ipv4(slot.address for slot in pool.slots_of(eni_id))
    return credit(pool.without_eni(eni_id), eni.vswitch_id, count)


def _unassigned(pool: Pool, event: Unassigned, now: float) -> Pool:
    pool = _move(pool.without_slots(event.addresses), event.eni_id, now)
    eni = pool.enis.get(event.eni_id)
    return pool if eni is None else credit(pool, eni.vswitch_id, _count_ipv4(event.addresses))


def _count_ipv4(addresses: Iterable[IPAddress]) -> int:
    return sum(family_of(address) is Family.V4 for address in addresses)
