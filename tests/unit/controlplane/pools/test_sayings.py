"""People hear at the node's resource what was done for it, in upstream's words, and no noise."""

from __future__ import annotations

import pytest

from terway.controlplane.pools.sayings import say
from terway.ipam.commands import AttachENI, CloudCommand, DeleteENI, DetachENI, Observe
from terway.ipam.events import (
    AttachRequested,
    Deleted,
    DetachRequested,
    Event,
    Failed,
    LinkReady,
    Observed,
)
from terway.ipam.failure import Failure, FailureKind
from terway.model.ids import ENIId

ENI = ENIId("eni-1")


def failed(command: CloudCommand, kind: FailureKind = FailureKind.REFUSED) -> Failed:
    return Failed(command=command, failure=Failure(kind=kind, reason="Forbidden.RAM: no"))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (AttachRequested(eni_id=ENI), "AttachENISucceed"),
        (DetachRequested(eni_id=ENI), "DetachENISucceed"),
        (Deleted(eni_id=ENI), "DeleteENISucceed"),
    ],
)
def test_what_was_done_is_said_of_its_eni(event: Event, reason: str) -> None:
    said = say(event)
    assert said is not None
    assert (said.type, said.reason, said.message) == ("Normal", reason, ENI)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (AttachENI(eni_id=ENI), "AttachENIFailed"),
        (DetachENI(eni_id=ENI), "DetachENIFailed"),
        (DeleteENI(eni_id=ENI), "DeleteENIFailed"),
        (Observe(detached=True), "SyncOpenAPIFailed"),
    ],
)
def test_what_was_refused_is_said_with_the_clouds_reason(
    command: CloudCommand, reason: str
) -> None:
    said = say(failed(command))
    assert said is not None
    assert (said.type, said.reason, said.message) == ("Warning", reason, "Forbidden.RAM: no")


@pytest.mark.parametrize(
    "event",
    [
        failed(AttachENI(eni_id=ENI), FailureKind.THROTTLED),
        failed(AttachENI(eni_id=ENI), FailureKind.TRANSIENT),
        failed(AttachENI(eni_id=ENI), FailureKind.CONFLICT),
        LinkReady(eni_id=ENI),
        Observed(asked_at=0.0, attached=()),
    ],
)
def test_what_is_repeated_by_itself_or_changes_nothing_is_not_said(event: Event) -> None:
    assert say(event) is None
