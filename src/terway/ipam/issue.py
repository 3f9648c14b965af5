"""Which cloud calls are due, and does the budget allow them?

An ENI has one call at a time: the cloud refuses a second one (Operation.Conflict).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    CloudCommand,
    CreateENI,
    DeleteENI,
    DetachENI,
    FlushConntrack,
    Observe,
    ObserveVSwitches,
    SetSecurityGroups,
    UnassignAddresses,
    UnassignPrefixes,
    WaitLink,
)
from terway.ipam.fit import groups_of, has_stale_groups
from terway.ipam.holding import is_all_released, may_take
from terway.ipam.pool import Pool
from terway.ipam.settings import BATCH
from terway.ipam.values import (
    AddressPhase,
    Attempt,
    CreateIntent,
    ENIPhase,
    Intent,
    PoolENI,
    PrefixPhase,
)
from terway.model.address import Family, IPAddress, IPNetwork, family_of

Thing = TypeVar("Thing", IPAddress, IPNetwork)


def issue(pool: Pool, now: float) -> tuple[Pool, tuple[CloudCommand, ...]]:
    """Begin every operation that is due and affordable."""
    pool = replace(pool, budget=pool.budget.refilled(now))
    if pool.config.is_supplied and pool.intents:
        # Begun before somebody else saw to the supply, who finds and collects what came of it.
        pool = replace(pool, intents={})
    commands: list[CloudCommand] = []
    for intent in pool.intents.values():
        command = intent_command(intent)
        if (
            _is_due(intent.attempt, now)
            and not _is_busy(pool, intent)
            and can_afford(pool, command, now)
        ):
            running = replace(intent, attempt=_running(intent.attempt))
            pool = spend(pool.with_intent(running), command)
            commands.append(command)
    for eni in pool.enis.values():
        operation = operation_of(pool, eni)
        if operation is None or not _is_due(eni.attempt, now):
            continue
        if can_afford(pool, operation, now):
            pool = _begin(pool, eni, operation, now)
            commands.append(operation)
    return pool, tuple(commands)


def _is_due(attempt: Attempt, now: float) -> bool:
    return not attempt.is_running and attempt.due_at <= now


def _running(attempt: Attempt) -> Attempt:
    return replace(attempt, is_running=True)


def action_of(command: CloudCommand) -> str:  # noqa: PLR0911 - a branch per command
    """Return the OpenAPI action of a command; empty for one that asks the kernel."""
    match command:
        case CreateENI():
            return "CreateNetworkInterface"
        case AssignAddresses(intent=intent):
            is_v4 = intent.family is Family.V4
            return "AssignPrivateIpAddresses" if is_v4 else "AssignIpv6Addresses"
        case UnassignAddresses(addresses=(first, *_)) | UnassignPrefixes(networks=(first, *_)):
            is_v4 = family_of(first) is Family.V4
            return "UnassignPrivateIpAddresses" if is_v4 else "UnassignIpv6Addresses"
        case AttachENI():
            return "AttachNetworkInterface"
        case DetachENI():
            return "DetachNetworkInterface"
        case DeleteENI():
            return "DeleteNetworkInterface"
        case SetSecurityGroups():
            return "ModifyNetworkInterfaceAttribute"
        case Observe():
            return "DescribeNetworkInterfaces"
        case ObserveVSwitches():
            return "DescribeVSwitches"
        case WaitLink() | FlushConntrack() | UnassignAddresses() | UnassignPrefixes():
            return ""


def can_afford(pool: Pool, command: CloudCommand, now: float) -> bool:
    """Return whether the budget allows `command`; what asks the kernel is free."""
    action = action_of(command)
    return not action or pool.budget.can_spend(now, action)


def spend(pool: Pool, command: CloudCommand) -> Pool:
    """Return the pool after `command` was paid for."""
    action = action_of(command)
    return replace(pool, budget=pool.budget.spent(action)) if action else pool


def _is_busy(pool: Pool, intent: Intent) -> bool:
    """Return whether the ENI of an assignment has another call under way."""
    if isinstance(intent, CreateIntent):
        return False
    others = (one.attempt.is_running for one in pool.assigns_of(intent.eni_id))
    return pool.enis[intent.eni_id].attempt.is_running or any(others)


def intent_command(intent: Intent) -> CloudCommand:
    """Return the call that an intent is about."""
    if isinstance(intent, CreateIntent):
        return CreateENI(intent=intent)
    return AssignAddresses(intent=intent)


def operation_of(pool: Pool, eni: PoolENI) -> CloudCommand | None:
    """Return the next step in the life of an ENI, or None when it is where it should be."""
    match eni.phase:
        case _ if eni.is_gone or _is_kept(pool, eni):
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
            return _improve(pool, eni)


def _is_kept(pool: Pool, eni: PoolENI) -> bool:
    """Return whether nothing may be done about an ENI: by us, now, or at all."""
    if pool.config.is_supplied:
        return eni.phase is not ENIPhase.ATTACHING or not eni.is_requested
    is_asked_about = pool.config.is_supplier and eni.phase.is_leaving
    return is_asked_about and not is_all_released(pool, eni.id)


def _improve(pool: Pool, eni: PoolENI) -> CloudCommand | None:
    """Return what an ENI in use is to be rid of, or else to be made."""
    if any(one.attempt.is_running for one in pool.assigns_of(eni.id)):
        return None
    return _unassign(pool, eni) or _mend_groups(pool, eni)


def _unassign(pool: Pool, eni: PoolENI) -> UnassignAddresses | UnassignPrefixes | None:
    """Return one call's worth of what retires: of one family, addresses or prefixes."""
    retiring = [
        slot.address
        for slot in pool.slots_of(eni.id)
        if slot.phase is AddressPhase.RETIRING and may_take(pool, slot)
    ]
    if retiring:
        return UnassignAddresses(eni_id=eni.id, addresses=_one_family(retiring))
    prefixes = [
        prefix.network
        for prefix in pool.prefixes_of(eni.id)
        if prefix.phase is PrefixPhase.RETIRING and may_take(pool, prefix)
    ]
    if prefixes:
        return UnassignPrefixes(eni_id=eni.id, networks=_one_family(prefixes))
    return None


def _one_family(things: list[Thing]) -> tuple[Thing, ...]:
    v4 = tuple(one for one in things if family_of(one) is Family.V4)
    return (v4 or tuple(things))[:BATCH]


def _mend_groups(pool: Pool, eni: PoolENI) -> SetSecurityGroups | None:
    """Return the call that puts an ENI into the security groups that are asked for now."""
    if not has_stale_groups(pool.config, eni):
        return None
    return SetSecurityGroups(eni_id=eni.id, security_group_ids=groups_of(pool.config, eni))


def _begin(pool: Pool, eni: PoolENI, command: CloudCommand, now: float) -> Pool:
    running = replace(eni, attempt=_running(eni.attempt))
    if isinstance(command, WaitLink):
        return pool.with_eni(running)
    return spend(pool.with_eni(replace(running, changed_at=now)), command)
