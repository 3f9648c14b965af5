"""What changes when a call failed?

Nothing is given up for a failure that says nothing about the outcome: the same call is made
again, with the same token. A refusal is final; then the demand is met elsewhere, or held back
until asking again is worth a call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from terway.ipam import chance
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
from terway.ipam.events import Failed
from terway.ipam.failure import Failure, FailureKind
from terway.ipam.pool import Pool
from terway.ipam.rest import kept
from terway.ipam.stock import hold
from terway.ipam.values import (
    AddressPhase,
    AssignIntent,
    Attempt,
    CreateIntent,
    ENIPhase,
    Hold,
    Intent,
    PoolENI,
    PrefixPhase,
)
from terway.model.ids import ENIId

_ATTACH_TRIES = 3  # then the ENI is given back, and another may be created
_UNDECIDED = (FailureKind.THROTTLED, FailureKind.TRANSIENT, FailureKind.CONFLICT)
_FLUSH_RETRY_S = 1.0


def failed(pool: Pool, event: Failed, now: float) -> Pool:
    """Take over that a command failed."""
    if event.failure.kind is FailureKind.THROTTLED:
        budget = pool.budget.throttled(now, event.failure.retry_after_s)
        pool = replace(pool, budget=budget)
    return _failed(pool, event.command, event.failure, now)


def _failed(  # noqa: PLR0911 - a branch per command
    pool: Pool, command: CloudCommand, failure: Failure, now: float
) -> Pool:
    match command:
        case CreateENI():
            return _create_failed(pool, command.intent, failure, now)
        case AssignAddresses():
            return _assign_failed(pool, command.intent, failure, now)
        case AttachENI():
            return _attach_failed(pool, command.eni_id, failure, now)
        case WaitLink():
            return _link_failed(pool, command.eni_id, failure, now)
        case DetachENI() | DeleteENI() | UnassignAddresses() | UnassignPrefixes():
            return _removal_failed(pool, command.eni_id, failure, now)
        case SetSecurityGroups():
            return _removal_failed(pool, command.eni_id, failure, now)
        case FlushConntrack():
            return kept(pool, command.addresses, now + _FLUSH_RETRY_S)
        case Observe():
            return _observe_failed(pool, command, failure, now)
        case ObserveVSwitches():
            again = _again(pool, pool.vswitch_watch, failure, now)
            return replace(pool, vswitch_watch=again)


def _again(pool: Pool, attempt: Attempt, failure: Failure, now: float) -> Attempt:
    failures = attempt.failures + 1
    pause_s = chance.backoff_s(failures, seed=pool.config.token_seed)
    return Attempt(failures=failures, due_at=now + max(pause_s, failure.retry_after_s))


def _repeat(pool: Pool, intent: Intent, failure: Failure, now: float) -> Pool:
    return pool.with_intent(replace(intent, attempt=_again(pool, intent.attempt, failure, now)))


def _create_failed(pool: Pool, intent: CreateIntent, failure: Failure, now: float) -> Pool:
    if failure.kind in _UNDECIDED:
        return _repeat(pool, intent, failure, now)
    pool = pool.without_intent(intent.token)
    match failure.kind:
        case FailureKind.VSWITCH_FULL:
            by_prefix = intent.ipv4_prefixes > 0
            return hold(pool, intent.vswitch_id, failure.reason, now, by_prefix=by_prefix)
        case FailureKind.TOKEN_REFUSED:
            # What the token was used for may be an ENI: the fuller reading finds it.
            watch = replace(pool.watch, due_at=now, detached_due_at=now)
            return replace(pool, watch=watch)
        case _:
            return _hold_creation(pool, failure, now)


def _hold_creation(pool: Pool, failure: Failure, now: float) -> Pool:
    until = now + pool.config.quota_hold_s
    return replace(pool, create_hold=Hold(until=until, reason=failure.reason)).observing_at(now)


def _assign_failed(pool: Pool, intent: AssignIntent, failure: Failure, now: float) -> Pool:
    if intent.token not in pool.intents:  # the ENI went meanwhile
        return pool
    if failure.kind is FailureKind.CONFLICT:
        pool = pool.observing_at(now)
    if failure.kind in _UNDECIDED:
        return _repeat(pool, intent, failure, now)
    eni = pool.enis[intent.eni_id]
    pool = pool.without_intent(intent.token)
    if failure.kind is FailureKind.VSWITCH_FULL and eni.vswitch_id in pool.vswitches:
        return hold(pool, eni.vswitch_id, failure.reason, now, by_prefix=intent.is_prefix)
    held = replace(eni, grow_after=now + pool.config.quota_hold_s, changed_at=now)
    return pool.with_eni(held).observing_at(now)


def _attach_failed(pool: Pool, eni_id: ENIId, failure: Failure, now: float) -> Pool:
    eni = pool.enis.get(eni_id)
    if eni is None:
        return pool
    if failure.kind is FailureKind.GONE:
        return lose_eni(pool, eni)
    if failure.kind not in _UNDECIDED:
        pool = _hold_creation(pool, failure, now)
    if _is_hopeful(pool, eni, failure):
        return _repeat_for(pool, eni, failure, now)
    return _abandon(pool, eni, now)


def _link_failed(pool: Pool, eni_id: ENIId, failure: Failure, now: float) -> Pool:
    """Look whether the ENI is attached at all; without pods on it, it is not waited for long."""
    eni = pool.enis.get(eni_id)
    if eni is None:
        return pool
    if _is_hopeful(pool, eni, failure):
        again = replace(eni, attempt=_again(pool, eni.attempt, failure, now))
        return pool.with_eni(again).observing_at(now)
    return _abandon(pool, eni, now)


def _is_hopeful(pool: Pool, eni: PoolENI, failure: Failure) -> bool:
    """Return whether to go on with an ENI that does not become usable: always, with pods on it."""
    if any(slot.owner for slot in pool.slots_of(eni.id)):
        return True
    return failure.kind in _UNDECIDED and eni.attempt.failures + 1 < _ATTACH_TRIES


def _abandon(pool: Pool, eni: PoolENI, now: float) -> Pool:
    """Give back an ENI that does not become usable; attached or not, both calls work it out.

    Nobody was ever given an address of it, so nobody need be asked.
    """
    phase = ENIPhase.DETACHING if eni.is_requested else ENIPhase.DELETING
    gone: dict[str, Any] = {"phase": AddressPhase.RETIRING, "is_released": True}
    retiring = (replace(slot, **gone) for slot in pool.slots_of(eni.id))
    prefixes = (replace(one, is_released=True) for one in pool.prefixes_of(eni.id))
    leaving = replace(eni, phase=phase, attempt=Attempt(), changed_at=now, is_requested=False)
    return pool.with_eni(leaving).with_slots(retiring).with_prefixes(prefixes)


def _repeat_for(pool: Pool, eni: PoolENI, failure: Failure, now: float) -> Pool:
    again = replace(eni, attempt=_again(pool, eni.attempt, failure, now))
    if failure.kind is FailureKind.CONFLICT:
        # Refused, so nothing changed: a reading from now on tells what is true of it.
        again = replace(again, changed_at=now - pool.config.settle_s)
        return pool.with_eni(again).observing_at(now)
    return pool.with_eni(replace(again, changed_at=now))


def _removal_failed(pool: Pool, eni_id: ENIId, failure: Failure, now: float) -> Pool:
    eni = pool.enis.get(eni_id)
    if eni is None:
        return pool
    if failure.kind is FailureKind.GONE:
        return lose_eni(pool, eni)
    return _repeat_for(pool, eni, failure, now)


def lose_eni(pool: Pool, eni: PoolENI) -> Pool:
    """Forget an ENI that the cloud does not know, but for what pods hold of it."""
    held = [slot for slot in pool.slots_of(eni.id) if slot.owner is not None]
    lost = [
        replace(prefix, phase=PrefixPhase.LOST)
        for prefix in pool.prefixes_of(eni.id)
        if any(slot.prefix == prefix.network for slot in held)
    ]
    pool = pool.without_eni(eni.id)
    if not held:
        return pool
    gone = replace(eni, is_gone=True, is_requested=False, attempt=Attempt())
    pool = pool.with_eni(gone).with_prefixes(lost)
    return pool.with_slots(replace(slot, is_missing=True) for slot in held)


def _observe_failed(pool: Pool, command: Observe, failure: Failure, now: float) -> Pool:
    watch = pool.watch
    again = _again(pool, Attempt(failures=watch.failures), failure, now)
    return replace(
        pool,
        watch=replace(
            watch,
            is_running=False,
            failures=again.failures,
            due_at=again.due_at,
            detached_due_at=now if command.detached else watch.detached_due_at,
        ),
    )
