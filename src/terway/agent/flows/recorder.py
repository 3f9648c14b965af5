"""What is seen of a connection, as a record: who, to whom, and which policy decided?

The kernel's deed is the fact. The policies are asked for the reason once a record; where what they
say now does not fit the deed, they have changed in between, and no rule is named. A packet that
was denied may be the answer of a connection that is not allowed any more: it is told as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from terway.agent.flows.fold import Folds
from terway.agent.flows.seen import Seen, Seer, time_text
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.policy.flow import Judgement, Verdict
from terway.policy.policies import Direction
from terway.policy.records.recorded import Line, RecordedEnd, RecordedFlow, Remark

CHANGED = "the policies have changed meanwhile"
NOT_OPENING = "no first packet of a connection: it was open before, or nobody knows it"
ANSWER = "an answer, denied because the connection is not allowed any more"
BUSY = "too many at once to say why"
UNKNOWN = "nobody can say why: {}"

_ASKING_S = 0.1  # of every second at most: a scan of ports must not hold up an ADD


class Knowledge(Protocol):
    """What is known of the cluster: who has an address, and what the policies say of a flow."""

    def end_of(self, address: IPAddress) -> RecordedEnd:
        """Return who has an address now."""

    def judge(self, flow: RecordedFlow) -> Verdict:
        """Return what both sides say. Raises VpcError where they cannot be asked."""


class Recorder:
    """Makes records of what was seen. `now` is monotonic seconds."""

    def __init__(self, node: NodeName, knowledge: Knowledge, *, now: Callable[[], float]) -> None:
        self._node = node
        self._knowledge = knowledge
        self._now = now
        self._folds = Folds()
        self._asked_s = 0.0  # spent on reasons in this second
        self._asked_until = 0.0

    @property
    def next_at(self) -> float | None:
        """Return when a record is complete next, in monotonic seconds; None: nothing is open."""
        return self._folds.next_at

    def take(self, seen: Iterable[Seen]) -> Iterator[RecordedFlow]:
        """Take in what was seen; yield what had to be closed for it."""
        for one in seen:
            if self._folds.count(one.alike, one.seer):
                continue
            flow = self._record(one)
            if one.seer is Seer.PROGRAM and self._is_within_node(flow):
                continue
            closed = self._folds.begin(one.alike, one.seer, flow, now=self._now())
            if closed is not None:
                yield closed

    def complete(self) -> tuple[RecordedFlow, ...]:
        """Return the records whose second is over."""
        return self._folds.close(now=self._now())

    def remark(self, at_ns: int, *, lost: int = 0, text: str = "") -> Line:
        """Return a line about the log itself."""
        return Remark(time=time_text(at_ns), node=self._node, lost=lost, text=text)

    def _is_within_node(self, flow: RecordedFlow) -> bool:
        """Return whether it is between a pod and its own node, and no policy's business.

        Tables do not see that either: probes would be most of what is told.
        """
        ends = (flow.source, flow.destination)
        return (
            flow.is_allowed
            and any(end.pod is None and end.node == self._node for end in ends)
            and not any(side.policy for side in flow.sides)
        )

    def _record(self, seen: Seen) -> RecordedFlow:
        flow = RecordedFlow(
            time=seen.time,
            node=self._node,
            is_allowed=seen.is_allowed,
            source=self._knowledge.end_of(seen.source),
            destination=self._knowledge.end_of(seen.destination),
            protocol=seen.protocol,
            port=seen.port,
            icmp_type=seen.icmp_type,
            interface=seen.interface,
            sample=seen.sample if seen.is_allowed else 1,
        )
        began_at = self._now()
        if began_at >= self._asked_until:
            self._asked_s, self._asked_until = 0.0, began_at + 1.0
        if self._asked_s >= _ASKING_S:
            return replace(flow, note=BUSY)
        reasoned = self._with_reason(flow, seen)
        self._asked_s += self._now() - began_at
        return reasoned

    def _with_reason(self, flow: RecordedFlow, seen: Seen) -> RecordedFlow:
        try:
            sides = self._own_sides(flow)
            if all(side.is_allowed for side in sides) is flow.is_allowed:
                return replace(flow, sides=sides)
            if seen.is_half:
                sides = tuple(side for side in sides if side.direction is Direction.EGRESS)
                if all(side.is_allowed for side in sides):
                    return replace(flow, sides=sides)
            if not flow.is_allowed and seen.source_port:
                answered = replace(
                    flow, source=flow.destination, destination=flow.source, port=seen.source_port
                )
                sides = self._own_sides(answered)
                if not all(side.is_allowed for side in sides):
                    return replace(answered, sides=sides, note=ANSWER)
        except VpcError as error:
            return replace(flow, note=UNKNOWN.format(error))
        return replace(flow, note=CHANGED if seen.is_opening else NOT_OPENING)

    def _own_sides(self, flow: RecordedFlow) -> tuple[Judgement, ...]:
        """Return what the sides say that this node enforces: those of its own pods."""
        verdict = self._knowledge.judge(flow)
        sides = ((flow.source, verdict.egress), (flow.destination, verdict.ingress))
        return tuple(
            side for end, side in sides if side is not None and end.node == self._node and end.pod
        )
