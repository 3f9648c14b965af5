"""Which packets went into a hop and did not come out of it, and how long did the others take?"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from terway.cli.frames import Frame, flow_of, same_packet

_SETTLE_NS = 50_000_000  # a packet seen this late may still be on its way when a capture ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A packet that was seen at the first end; `latency_ns` None: it did not come out.

    A negative latency is one that came the other way: in by the second end.
    """

    flow: str
    at_ns: int
    latency_ns: int | None


def correlate(inner: Iterable[Frame], outer: Iterable[Frame]) -> tuple[Crossing, ...]:
    """Return what became of each IP packet that either end of a hop saw, in order of time.

    Packets are the same when all that routers leave alone is the same; repeats (a retransmission is
    byte for byte the original) are matched in order.
    """
    first, second = sorted(inner, key=_time), sorted(outer, key=_time)
    waiting: dict[bytes, deque[Frame]] = defaultdict(deque)
    for frame in second:
        waiting[same_packet(frame.data)].append(frame)
    ends = [one.at_ns for one in (*first, *second)]
    last = max(ends, default=0)
    found: list[Crossing] = []
    for frame in first:
        flow, name = flow_of(frame.data), same_packet(frame.data)
        if flow is None or not name:
            continue
        other = waiting[name].popleft() if waiting[name] else None
        if other is None and last - frame.at_ns < _SETTLE_NS:
            continue  # the capture may have ended before it came out
        latency = None if other is None else other.at_ns - frame.at_ns
        found.append(Crossing(flow=str(flow), at_ns=frame.at_ns, latency_ns=latency))
    for left in waiting.values():
        for frame in left:
            flow = flow_of(frame.data)
            if flow is not None:
                found.append(Crossing(flow=str(flow), at_ns=frame.at_ns, latency_ns=None))
    return tuple(sorted(found, key=lambda one: one.at_ns))


def _time(frame: Frame) -> int:
    return frame.at_ns
