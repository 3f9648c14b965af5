"""How is a record of the flow log told to a person, in 80 columns?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from terway.cli.table import counted, wrapped
from terway.policy.flow import Because
from terway.policy.records.recorded import Line, RecordedEnd, RecordedFlow, Remark
from terway.policy.words import describe_judgement

_ICMP = {0: "echo reply", 3: "unreachable", 8: "echo", 128: "echo", 129: "echo reply"}


def line_words(line: Line) -> list[str]:
    """Return a record as lines: who to whom, then why."""
    if isinstance(line, Remark):
        lost = f"{line.lost} packets were lost: too many at once" if line.lost else line.text
        return wrapped(f"{_clock(line.time)} {line.node}: {lost}")
    return [*wrapped(_head(line)), *_reasons(line)]


def _head(flow: RecordedFlow) -> str:
    verdict = "allowed" if flow.is_allowed else "DENIED "
    target = _with_port(flow.destination, flow.port)
    often = f" x{flow.count}" if flow.count > 1 else ""
    sample = f" (1 in {flow.sample})" if flow.sample > 1 else ""
    kind = _ICMP.get(flow.icmp_type, "") if flow.icmp_type is not None else ""
    protocol = f"{flow.protocol} {kind}".rstrip()
    ends = f"{flow.source} -> {target}"
    return f"{_clock(flow.time)} {verdict} {ends} {protocol}{often}{sample}"


def _with_port(end: RecordedEnd, port: int) -> str:
    if not port:
        return str(end)
    is_v6 = end.pod is None and end.node is None and end.address.version == 6
    return f"[{end}]:{port}" if is_v6 else f"{end}:{port}"


def _reasons(flow: RecordedFlow) -> Iterator[str]:
    telling = [side for side in flow.sides if side.because is not Because.DEFAULT]
    for side in telling or flow.sides[:1]:
        yield from wrapped(describe_judgement(side), indent=4)
    if flow.note:
        yield from wrapped(flow.note, indent=4)


def _clock(time: str) -> str:
    """Return the time of day of an RFC 3339 time, which is UTC."""
    return time.partition("T")[2].rstrip("Z") or time


@dataclass(slots=True)
class Tally:
    """What has been told."""

    records: int = 0
    allowed: int = 0
    denied: int = 0
    lost: int = 0
    _workloads: set[str] = field(default_factory=set)

    def count(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Count lines as they pass."""
        for line in lines:
            if isinstance(line, Remark):
                self.lost += line.lost
            else:
                self._count_flow(line)
            yield line

    def _count_flow(self, flow: RecordedFlow) -> None:
        self.records += 1
        self._workloads |= {flow.source.owner, flow.destination.owner}
        if flow.is_allowed:
            self.allowed += flow.count
        else:
            self.denied += flow.count

    @property
    def words(self) -> str:
        """Return it in a line."""
        lost = f"; {counted(self.lost, 'packet')} lost" if self.lost else ""
        count = self.denied + self.allowed
        of = f" of {counted(count, 'connection')}" if count != self.records else ""
        verdicts = f"{self.denied} denied, {self.allowed} allowed"
        parties = counted(len(self._workloads), "party", "parties")
        return f"{counted(self.records, 'record')}{of}: {verdicts}{lost}; {parties} took part"
