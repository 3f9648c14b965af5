"""What of a call's answer do people want to hear of, at the node's resource?

Reasons are upstream's. Answers that change nothing say nothing; what the pool repeats by itself a
moment later says nothing, either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    CloudCommand,
    CreateENI,
    DeleteENI,
    DetachENI,
    Observe,
)
from terway.ipam.events import AttachRequested, Created, Deleted, DetachRequested, Event, Failed
from terway.ipam.failure import FailureKind
from terway.kube.events import NORMAL, WARNING

_SUCCEEDED: Mapping[type, str] = {
    Created: "CreateENISucceed",
    AttachRequested: "AttachENISucceed",
    DetachRequested: "DetachENISucceed",
    Deleted: "DeleteENISucceed",
}
_FAILED: Mapping[type[CloudCommand], str] = {
    CreateENI: "CreateENIFailed",
    AssignAddresses: "AllocIPFailed",
    AttachENI: "AttachENIFailed",
    DetachENI: "DetachENIFailed",
    DeleteENI: "DeleteENIFailed",
    Observe: "SyncOpenAPIFailed",
}
_PASSING = (FailureKind.THROTTLED, FailureKind.TRANSIENT, FailureKind.CONFLICT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """An event of Kubernetes."""

    type: str
    reason: str
    message: str


def say(event: Event) -> Saying | None:
    """Return what is to be said of the answer to a call; None for nothing."""
    if isinstance(event, Failed):
        reason = _FAILED.get(type(event.command))
        if reason is None or event.failure.kind in _PASSING:
            return None
        return Saying(type=WARNING, reason=reason, message=event.failure.reason)
    reason = _SUCCEEDED.get(type(event))
    if reason is None:
        return None
    eni_id = event.eni.id if isinstance(event, Created) else getattr(event, "eni_id", "")
    return Saying(type=NORMAL, reason=reason, message=f"{eni_id}")
