"""What changes when a call succeeded?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.ipam.adopt import enter, with_prefixes_of, with_slots_of
from terway.ipam.events import (
    Assigned,
    AttachRequested,
    Created,
    Deleted,
    DetachRequested,
    LinkReady,
    PrefixesAssigned,
    PrefixesUnassigned,
    SecurityGroupsSet,
    Unassigned,
)
from terway.ipam.pool import Pool
from terway.ipam.stock import credit, debit
from terway.ipam.values import (
    AddressPhase,
    AssignIntent,
    Attempt,
    CreateIntent,
    ENIPhase,
    PoolENI,
    Prefix,
    Slot,
)
from terway.model.address import IPAddress, IPNetwork
from terway.model.ids import ClientToken, ENIId

Answer = (
    Created
    | Assigned
    | PrefixesAssigned
    | AttachRequested
    | LinkReady
    | DetachRequested
    | Deleted
    | Unassigned
    | PrefixesUnassigned
    | SecurityGroupsSet
)


def answered(pool: Pool, event: Answer, now: float) -> Pool:  # noqa: PLR0911 - a branch per event
    """Take over the answer to a command."""
    if isinstance(event, LinkReady):
        return _link_ready(pool, event.eni_id, now)
    pool = _thriving(pool)
    match event:
        case Created():
            return _created(pool, event, now)
        case Assigned():
            return _assigned(pool, event, now)
        case PrefixesAssigned():
            return _prefixes_assigned(pool, event, now)
        case AttachRequested():
            return _move(pool, event.eni_id, now, is_requested=True)
        case DetachRequested():
            return _detached(pool, event.eni_id, now)
        case Deleted():
            return _deleted(pool, event.eni_id)
        case Unassigned():
            return _move(_unassigned(pool, event), event.eni_id, now)
        case PrefixesUnassigned():
            return _move(_prefixes_unassigned(pool, event), event.eni_id, now)
        case SecurityGroupsSet():
            return _groups_set(pool, event, now)


def _thriving(pool: Pool) -> Pool:
    """Return the pool after the cloud answered: more calls may be made."""
    return replace(pool, budget=pool.budget.answered())


def _created(pool: Pool, event: Created, now: float) -> Pool:
    intent = pool.intents.get(event.token)
    pool = replace(pool.without_intent(event.token), create_hold=None)
    eni = event.eni
    if eni.id in pool.enis:  # a reading of the cloud was faster
        return pool
    made_by = intent if isinstance(intent, CreateIntent) else None
    pool = pool.with_eni(enter(pool.config, eni, now, made_by))
    pool = with_slots_of(pool, eni, phase=AddressPhase.FREE)
    pool = with_prefixes_of(pool, eni)
    return debit(pool, eni.vswitch_id, (*eni.ipv4, *eni.ipv4_prefixes))


def _take_intent(pool: Pool, token: ClientToken) -> tuple[Pool, AssignIntent | None]:
    """Return the pool without an intent, and the intent if its ENI is still there."""
    intent = pool.intents.get(token)
    return pool.without_intent(token), intent if isinstance(intent, AssignIntent) else None


def _assigned(pool: Pool, event: Assigned, now: float) -> Pool:
    pool, intent = _take_intent(pool, event.token)
    if intent is None:
        return pool
    eni = pool.enis[intent.eni_id]
    new = (
        Slot(address=address, eni_id=eni.id)
        for address in event.addresses
        if address not in pool.slots
    )
    pool = pool.with_slots(new).with_eni(replace(eni, changed_at=now))
    return debit(pool, eni.vswitch_id, event.addresses)


def _prefixes_assigned(pool: Pool, event: PrefixesAssigned, now: float) -> Pool:
    pool, intent = _take_intent(pool, event.token)
    if intent is None:
        return pool
    eni = pool.enis[intent.eni_id]
    new = (
        Prefix(network=network, eni_id=eni.id)
        for network in event.networks
        if network not in pool.prefixes
    )
    pool = pool.with_prefixes(new).with_eni(replace(eni, changed_at=now))
    return debit(pool, eni.vswitch_id, event.networks)


def _unassigned(pool: Pool, event: Unassigned) -> Pool:
    """Drop what the ENI had; by now the cloud may have given the same to another one."""
    mine = {slot.address for slot in pool.slots_of(event.eni_id)}
    left = pool.without_slots(mine.intersection(event.addresses))
    return _credited(left, event.eni_id, event.addresses)


def _prefixes_unassigned(pool: Pool, event: PrefixesUnassigned) -> Pool:
    mine = {prefix.network for prefix in pool.prefixes_of(event.eni_id)}
    left = pool.without_prefixes(mine.intersection(event.networks))
    return _credited(left, event.eni_id, event.networks)


def _groups_set(pool: Pool, event: SecurityGroupsSet, now: float) -> Pool:
    pool = _move(pool, event.eni_id, now)
    eni = pool.enis.get(event.eni_id)
    if eni is None:
        return pool
    return pool.with_eni(replace(eni, security_group_ids=event.security_group_ids))


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
    singles = (slot.address for slot in pool.slots_of(eni_id) if slot.prefix is None)
    ranges = (prefix.network for prefix in pool.prefixes_of(eni_id))
    return _credited(pool, eni_id, (*singles, *ranges)).without_eni(eni_id)


def _credited(pool: Pool, eni_id: ENIId, given_back: Iterable[IPAddress | IPNetwork]) -> Pool:
    eni = pool.enis.get(eni_id)
    return pool if eni is None else credit(pool, eni.vswitch_id, given_back)
