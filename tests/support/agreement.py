"""Feeds one frame to the fabric's program and to its oracle, and compares what becomes of it."""

from __future__ import annotations

from dataclasses import replace

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.oracle.fabric import Answered, Delivered, Dropped, Oracle, Outcome
from terway.model.ids import ENIId
from tests.support.fabric_program import DROP, REDIRECT, SERVICES, FabricProgram, Observed


def expected(outcome: Outcome, frame: bytes) -> Observed:
    """What the program must show when the oracle says `outcome`."""
    match outcome:
        case Dropped(at=at, reason=reason):
            return _observed(DROP, frame, drops=((at, reason),))
        case Answered(at=at, frame=reply, reason=reason):
            drops = () if reason is DropReason.NONE else ((at, reason),)
            return _observed(REDIRECT, reply, drops=drops, answered_at=(at,))
        case Delivered(to=to, frame=sent):
            return _observed(REDIRECT, sent, delivered_to=(to or SERVICES,))


def _observed(
    verdict: int,
    frame: bytes,
    *,
    drops: tuple[tuple[ENIId, DropReason], ...] = (),
    delivered_to: tuple[ENIId, ...] = (),
    answered_at: tuple[ENIId, ...] = (),
) -> Observed:
    return Observed(
        verdict=verdict,
        frame=frame,
        drops=drops,
        delivered_to=delivered_to,
        answered_at=answered_at,
    )


def agree(
    program: FabricProgram, oracle: Oracle, eni_id: ENIId, frame: bytes, *, gso_size: int = 0
) -> Outcome:
    """Assert that program and oracle agree on a frame, and return what they agree on."""
    outcome = oracle.receive(eni_id, frame, gso_size=gso_size)
    seen = program.send(eni_id, frame, gso_size=gso_size)
    assert _untagged(seen) == _untagged(expected(outcome, frame))
    return outcome


def _untagged(seen: Observed) -> Observed:
    """Tags are beside frames, where the run of a program shows none: see test_vpc_trunks."""
    frame = seen.frame
    while frame[12:14] == b"\x81\x00":
        frame = frame[:12] + frame[16:]
    return replace(seen, frame=frame)
