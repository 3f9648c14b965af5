"""What is wrong with a node's ENIs? The conditions that its resource shows of each.

    InsufficientIP   the cloud said, not long ago, that the ENI's vSwitch has no address, or no
                     range, left: the pool asks it for none until then
    OperationErr     the last operation on the ENI was refused, or went wrong thrice in a row

A condition says when it was first seen; it goes when an operation on the ENI succeeds, or when
the vSwitch is to be asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.ipam.events import (
    Assigned,
    AttachRequested,
    DetachRequested,
    Event,
    Failed,
    LinkReady,
    PrefixesAssigned,
    PrefixesUnassigned,
    SecurityGroupsSet,
    Unassigned,
)
from terway.ipam.failure import FailureKind
from terway.ipam.pool import Pool
from terway.ipam.values import AssignIntent, Hold, PoolENI
from terway.model.ids import ClientToken, ENIId

INSUFFICIENT_IP, OPERATION_ERR = "InsufficientIP", "OperationErr"
_PASSING = (FailureKind.TRANSIENT, FailureKind.CONFLICT)
_OFTEN = 3  # then what passes by itself, as a rule, did not
# Not the ENI's trouble: whose it is is told elsewhere.
_OF_OTHERS = (FailureKind.THROTTLED, FailureKind.VSWITCH_FULL, FailureKind.GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An operation on an ENI that went wrong `times` in a row, in one way. Times: monotonic s."""

    kind: FailureKind
    message: str  # of the first time
    since: float
    times: int = 1

    @property
    def is_shown(self) -> bool:
        """Return whether somebody should look at it."""
        return self.kind not in _PASSING or self.times >= _OFTEN


Troubles = Mapping[ENIId, Trouble]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is wrong with an ENI, since when (monotonic seconds)."""

    message: str
    since: float


def heard(troubles: Troubles, event: Event, pool: Pool, *, now: float) -> Troubles:
    """Return the troubles after an answer; `pool` is as it was before."""
    if isinstance(event, Failed):
        eni_id = _eni_of_command(event)
        if eni_id is None or event.failure.kind in _OF_OTHERS:
            return troubles
        return {**troubles, eni_id: _once_more(troubles.get(eni_id), event, now)}
    eni_id = _eni_of_answer(event, pool)
    if eni_id not in troubles:
        return troubles
    return {key: one for key, one in troubles.items() if key != eni_id}


def _once_more(before: Trouble | None, event: Failed, now: float) -> Trouble:
    kind = event.failure.kind
    if before is None or before.kind is not kind:
        return Trouble(kind=kind, message=event.failure.reason, since=now)
    return Trouble(kind=kind, message=before.message, since=before.since, times=before.times + 1)


def _eni_of_command(event: Failed) -> ENIId | None:
    intent = getattr(event.command, "intent", None)
    if isinstance(intent, AssignIntent):
        return intent.eni_id
    found: ENIId | None = getattr(event.command, "eni_id", None)
    return found


def _eni_of_answer(event: Event, pool: Pool) -> ENIId | None:
    match event:
        case Assigned(token=token) | PrefixesAssigned(token=token):
            return _eni_of_token(pool, token)
        case AttachRequested() | LinkReady() | DetachRequested() | SecurityGroupsSet():
            return event.eni_id
        case Unassigned() | PrefixesUnassigned():
            return event.eni_id
        case _:
            return None


def _eni_of_token(pool: Pool, token: ClientToken) -> ENIId | None:
    intent = pool.intents.get(token)
    return intent.eni_id if isinstance(intent, AssignIntent) else None


def conditions_of(
    pool: Pool, eni: PoolENI, troubles: Troubles, *, now: float
) -> Mapping[str, Condition]:
    """Return what is wrong with an ENI now, by upstream's words for it."""
    found: dict[str, Condition] = {}
    hold = next(_holds_on(pool, eni, now), None)
    if hold is not None:
        since = hold.until - pool.config.vswitch_hold_s
        message = f"{eni.vswitch_id} has no free address: {hold.reason}"
        found[INSUFFICIENT_IP] = Condition(message=message, since=since)
    trouble = troubles.get(eni.id)
    if trouble is not None and trouble.is_shown:
        found[OPERATION_ERR] = Condition(message=trouble.message, since=trouble.since)
    return found


def _holds_on(pool: Pool, eni: PoolENI, now: float) -> Iterator[Hold]:
    state = pool.vswitches.get(eni.vswitch_id)
    if state is None:
        return
    if state.hold is not None and state.is_held(now):
        yield state.hold
    if pool.config.has_prefixes and state.prefix_hold is not None and state.is_prefix_held(now):
        yield state.prefix_hold
