"""What does a logged packet say as a record: who, to whom, and which policy decided?

The kernel's deed is the fact. The policies are asked for the reason once a record; where what they
say now does not fit the deed, they have changed in between, and no rule is named. A packet that
was denied may be the answer of a connection that is not allowed any more: it is told as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from terway.agent.flows.fold import Folds
from terway.linux.ip_header import ICMP, ICMPV6, SCTP, TCP, UDP, IPHeader, parse_ip_header
from terway.linux.nflog import LoggedPacket
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.policy.flow import Judgement, Verdict
from terway.policy.records.recorded import Line, RecordedEnd, RecordedFlow, Remark

DENIED = "denied"  # in the prefix of the rule that logs what is dropped
CHANGED = "the policies have changed meanwhile"
NOT_OPENING = "no first packet of a connection: it was open before, or nobody knows it"
ANSWER = "an answer, denied because the connection is not allowed any more"
BUSY = "too many at once to say why"
UNKNOWN = "nobody can say why: {}"

_ASKING_S = 0.1  # of every second at most: a scan of ports must not hold up an ADD
_NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP", ICMP: "ICMP", ICMPV6: "ICMPv6"}


class Knowledge(Protocol):
    """What is known of the cluster: who has an address, and what the policies say of a flow."""

    def end_of(self, address: IPAddress) -> RecordedEnd:
        """Return who has an address now."""

    def judge(self, flow: RecordedFlow) -> Verdict:
        """Return what both sides say. Raises VpcError where they cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a packet was logged: names of links by number, and what the log is sampled by."""

    link_name: Callable[[int], str]
    netns: str = ""
    sample: int = 1


class Recorder:
    """Makes records of packets. `now` is monotonic seconds."""

    def __init__(self, node: NodeName, knowledge: Knowledge, *, now: Callable[[], float]) -> None:
        self._node = node
        self._knowledge = knowledge
        self._now = now
        self._folds = Folds()
        self._asked_s = 0.0  # spent on reasons in this second, which ends at …
        self._asked_until = 0.0

    @property
    def next_at(self) -> float | None:
        """Return when a record is complete next, in monotonic seconds; None: nothing is open."""
        return self._folds.next_at

    def take(self, packets: Iterable[LoggedPacket], spot: Spot) -> Iterator[RecordedFlow]:
        """Take packets in; yield what had to be closed for them."""
        for packet in packets:
            header = parse_ip_header(packet.packet)
            if header is None:
                continue
            key = (spot.netns, packet.prefix, _alike(header))
            if self._folds.count(key):
                continue
            closed = self._folds.begin(key, self._record(packet, header, spot), now=self._now())
            if closed is not None:
                yield closed

    def complete(self) -> tuple[RecordedFlow, ...]:
        """Return the records whose second is over."""
        return self._folds.close(now=self._now())

    def remark(self, at_ns: int, *, lost: int = 0, text: str = "") -> Line:
        """Return a line about the log itself."""
        return Remark(time=time_text(at_ns), node=self._node, lost=lost, text=text)

    def _record(self, packet: LoggedPacket, header: IPHeader, spot: Spot) -> RecordedFlow:
        is_allowed = DENIED not in packet.prefix
        names = (spot.link_name(index) for index in (packet.in_index, packet.out_index))
        flow = RecordedFlow(
            time=time_text(packet.at_ns),
            node=self._node,
            is_allowed=is_allowed,
            source=self._knowledge.end_of(header.source),
            destination=self._knowledge.end_of(header.destination),
            protocol=_NAMES.get(header.protocol, str(header.protocol)),
            port=header.destination_port,
            icmp_type=header.icmp_type,
            interface=" > ".join(name for name in names if name),
            sample=spot.sample if is_allowed else 1,
        )
        began_at = self._now()
        if began_at >= self._asked_until:
            self._asked_s, self._asked_until = 0.0, began_at + 1.0
        if self._asked_s >= _ASKING_S:
            return replace(flow, note=BUSY)
        reasoned = self._with_reason(flow, header)
        self._asked_s += self._now() - began_at
        return reasoned

    def _with_reason(self, flow: RecordedFlow, header: IPHeader) -> RecordedFlow:
        try:
            sides = self._own_sides(flow)
            if all(side.is_allowed for side in sides) is flow.is_allowed:
                return replace(flow, sides=sides)
            if not flow.is_allowed and header.source_port:
                answered = replace(
                    flow, source=flow.destination, destination=flow.source, port=header.source_port
                )
                sides = self._own_sides(answered)
                if not all(side.is_allowed for side in sides):
                    return replace(answered, sides=sides, note=ANSWER)
        except VpcError as error:
            return replace(flow, note=UNKNOWN.format(error))
        return replace(flow, note=CHANGED if header.is_opening else NOT_OPENING)

    def _own_sides(self, flow: RecordedFlow) -> tuple[Judgement, ...]:
        """Return what the sides say that this node enforces: those of its own pods."""
        verdict = self._knowledge.judge(flow)
        sides = ((flow.source, verdict.egress), (flow.destination, verdict.ingress))
        return tuple(
            side for end, side in sides if side is not None and end.node == self._node and end.pod
        )


def _alike(header: IPHeader) -> tuple[object, ...]:
    return (
        header.source,
        header.destination,
        header.protocol,
        header.destination_port,
        header.icmp_type,
    )


def time_text(at_ns: int) -> str:
    """Return a time in milliseconds as RFC 3339 has it."""
    at = datetime.fromtimestamp(at_ns / 1e9, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
