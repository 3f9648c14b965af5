"""What does an error of the cloud mean to the pool: repeat, go elsewhere, hold back, or look again?

Source of the codes: API error center, ECS 2014-05-26; the reactions are in `setbacks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.errors import (
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
    VpcError,
)


class FailureKind(Enum):
    """What the pool can tell apart."""

    THROTTLED = "throttled"  # repeat later, and make fewer calls
    TRANSIENT = "transient"  # repeat the same call
    CONFLICT = "conflict"  # the world is not as we think: look, then go on
    GONE = "gone"  # what the call is about does not exist
    TOKEN_REFUSED = "token refused"  # noqa: S105 - the client token was used for something else
    VSWITCH_FULL = "vSwitch full"
    ENI_FULL = "ENI full"  # it has more addresses than we knew
    QUOTA = "quota"  # no more ENIs for this instance or account
    REFUSED = "refused"  # a person has to change something


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a command failed. `retry_after_s` is 0 where the other side gave no hint."""

    kind: FailureKind
    reason: str
    retry_after_s: float = 0.0


_VSWITCH_FULL = ("InvalidVSwitchId.IpNotEnough", "QuotaExceeded.PrivateIpAddress")
_ENI_FULL = (
    "InvalidOperation.Ipv4CountExceeded",
    "InvalidOperation.Ipv6CountExceeded",
    "MaxEniIpv6IPQuotaExceeded",
)
_GONE = ("InvalidEniId.NotFound",)
_TOKEN_REFUSED = ("IdempotentFailed", "IdempotentParameterMismatch")


def classify(error: VpcError) -> Failure:
    """Return what `error` means. An error that is no answer to a call is raised again."""
    match error:
        case ThrottledError():
            kind, after = FailureKind.THROTTLED, error.retry_after_s
        case TransientError():
            kind, after = FailureKind.TRANSIENT, 0.0
        case CapacityError():
            kind, after = _capacity(error.code), error.retry_after_s
        case ConflictError():
            kind, after = _conflict(error.code), 0.0
        case UsageError():
            kind, after = FailureKind.REFUSED, 0.0
        case _:
            raise error
    return Failure(kind=kind, reason=str(error), retry_after_s=after)


def _capacity(code: str) -> FailureKind:
    if code in _VSWITCH_FULL:
        return FailureKind.VSWITCH_FULL
    return FailureKind.ENI_FULL if code in _ENI_FULL else FailureKind.QUOTA


def _conflict(code: str) -> FailureKind:
    if code in _TOKEN_REFUSED:
        return FailureKind.TOKEN_REFUSED
    return FailureKind.GONE if code in _GONE else FailureKind.CONFLICT
