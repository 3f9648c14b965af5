"""Which cloud calls are due, and does the budget allow them?

An ENI has one call at a time: the cloud refuses a second one (Operation.Conflict).
"""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    CloudCommand,
    CreateENI,
    DeleteENI,
    DetachENI,
    UnassignAddresses,
    WaitLink,
)
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH
from terway.ipam.values import (
    AddressPhase,
    Attempt,
    CreateIntent,
    ENIPhase,
    Intent,
    PoolENI,
)
from terway.model.address import Family, IPAddress, family_of


def issue(pool: Pool, now: float) -> tuple[Pool, tuple[CloudCommand, ...]]:
    """Begin every operation that is due and affordable."""
    pool = replace(pool, budget=pool.budget.refilled(now))
    commands: list[CloudCommand] = []
    for intent in pool.intents.values():
        if _is_due(intent.attempt, now) and not _is_busy(pool, intent) and _afford(pool, now):
            pool = _spend(pool.with_intent(replace(intent, attempt=_running(intent.attempt))))
            commands.append(_intent_command(intent))
    for eni in pool.enis.values():
        command = operation_of(pool, eni)
        if command is not None and _is_due(eni.attempt, now) and _may_begin(pool, command, now):
            pool = _begin(pool, eni, command, now)
            commands.append(command)
    return pool, tuple(commands)


def _is_due(attempt: Attempt, now: float) -> bool:
    return not attempt.is_running and attempt.due_at <= now


def _running(attempt: Attempt) -> Attempt:
    return replace(attempt, is_running=True)


def _afford(pool: Pool, now: float) -> bool:
    return pool.budget.can_spend(now)


def _spend(pool: Pool) -> Pool:
    return replace(pool, budget=pool.budget.spent())


def _is_busy(pool: Pool, intent: Intent) -> bool:
    """Return whether the ENI of an assignment has another call under way."""
    if isinstance(intent, CreateIntent):
        return False
    others = (one.attempt.is_running for one in pool.assigns_of(intent.eni_id))
    return pool.enis[intent.eni_id].attempt.is_running or any(others)


def _intent_command(intent: Intent) -> CloudCommand:
    if isinstance(intent, CreateIntent):
        return CreateENI(intent=intent)
    return AssignAddresses(intent=intent)


def operation_of(pool: Pool, eni: PoolENI) -> CloudCommand | None:
    """Return the next step in the life of an ENI, or None when it is where it should be."""
    match eni.phase:
        case _ if eni.is_gone:
            return None
        case ENIPhase.ATTACHING if eni.is_requested:
            # Its routes need the vSwitch's gateway: the link cannot be made ready before.
            is_known = eni.vswitch_id in pool.vswitches
            return WaitLink(eni_id=eni.id, mac=eni.mac) if is_known else None
        case ENIPhase.ATTACHING:
            return AttachENI(eni_id=eni.id)
        case ENIPhase.DETACHING:
            return DetachENI(eni_id=eni.id)
        case ENIPhase.DELETING:
            return DeleteENI(eni_id=eni.id)
        case ENIPhase.IN_USE:
            return _unassign(pool, eni)


def _unassign(pool: Pool, eni: PoolENI) -> UnassignAddresses | None:
    """Return one call's worth of retiring addresses: of one family."""
    retiring = [s.address for s in pool.slots_of(eni.id) if s.phase is AddressPhase.RETIRING]
    if not retiring or any(one.attempt.is_running for one in pool.assigns_of(eni.id)):
        return None
    return UnassignAddresses(eni_id=eni.id, addresses=_one_family(retiring))


def _one_family(addresses: list[IPAddress]) -> tuple[IPAddress, ...]:
    v4 = tuple(ip for ip in addresses if family_of(ip) is Family.V4)
    return (v4 or tuple(addresses))[:BATCH]


def _may_begin(pool: Pool, command: CloudCommand, now: float) -> bool:
    return isinstance(command, WaitLink) or _afford(pool, now)


def _begin(pool: Pool, eni: PoolENI, command: CloudCommand, now: float) -> Pool:
    running = replace(eni, attempt=_running(eni.attempt))
    if isinstance(command, WaitLink):
        return pool.with_eni(running)
    return _spend(pool.with_eni(replace(running, changed_at=now)))
