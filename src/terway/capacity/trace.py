"""What would a pool have done with a workload of the past? Waste, waits, calls, on a virtual clock.

An analytic model of a node's pool, not the pool itself: addresses come in batches after the time
that a call takes, rest after a pod, and go when there are more than the high watermark. It knows
nothing of ENIs: a vSwitch counts addresses.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf

BATCH = 10  # addresses of one call


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpan:
    """One pod on a node, from start to end; `end_s` is infinity while it runs."""

    node: str
    start_s: float
    end_s: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolModel:
    """The watermarks, and how long things take."""

    min_free: int
    max_free: int
    assign_s: float = 2.0  # a call, until the address carries packets
    cooldown_s: float = 30.0
    trim_after_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of a workload. `wasted` is the mean number of addresses that nobody used."""

    pods: int
    waited: int  # pods that had to wait for a call
    longest_wait_s: float
    wasted: float
    peak: int  # most addresses held by all nodes together
    calls: int


class _What(IntEnum):
    # In this order at the same moment: what comes back is there for who asks.
    END = 0
    RESTED = 1
    ASSIGNED = 2
    TRIM = 3
    START = 4


class _Node:
    """The pool of one node, as the replay goes on. `held` are all addresses it has."""

    def __init__(self, model: PoolModel) -> None:
        self.model = model
        self.free = model.min_free
        self.held = model.min_free
        self.coming = 0
        self.waiting: list[float] = []  # when each waiting pod began to
        self.surplus_since: float | None = None


class _Replayer:
    """Goes through the events of all nodes in their order."""

    def __init__(self, spans: Iterable[PodSpan], model: PoolModel) -> None:
        self._model = model
        self._order = 0
        self._events: list[tuple[float, int, int, str, int]] = []
        self._nodes: dict[str, _Node] = {}
        self._bound = 0
        self._integral = 0.0
        self.pods = self.waited = self.peak = self.calls = 0
        self.longest_s = 0.0
        ends = [0.0]
        for span in spans:
            self._nodes.setdefault(span.node, _Node(model))
            self._push(span.start_s, _What.START, span.node)
            if span.end_s != inf:
                self._push(span.end_s, _What.END, span.node)
            ends.append(span.start_s if span.end_s == inf else span.end_s)
        self.until_s = max(ends)
        self.from_s = min((event[0] for event in self._events), default=0.0)

    def _push(self, at_s: float, what: _What, node: str, count: int = 1) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_s, what, self._order, node, count))

    def run(self) -> Replay:
        """Return what became of it."""
        last_s = self.from_s
        touched: dict[str, None] = {}  # nodes, in the order in which something happened
        self._note_peak()
        while self._events and self._events[0][0] <= self.until_s:
            at_s, what, _, name, count = heapq.heappop(self._events)
            self._integral += (self._held() - self._bound) * (at_s - last_s)
            last_s = at_s
            self._happen(_What(what), name, count, at_s)
            touched[name] = None
            if not self._events or self._events[0][0] > at_s:
                # What happens at one moment is asked for together, as the pool coalesces demand.
                for one in touched:
                    self._settle(one, at_s)
                touched.clear()
                self._note_peak()
        length_s = max(self.until_s - self.from_s, 1e-9)
        return Replay(
            pods=self.pods,
            waited=self.waited,
            longest_wait_s=self.longest_s,
            wasted=self._integral / length_s,
            peak=self.peak,
            calls=self.calls,
        )

    def _held(self) -> int:
        return sum(node.held for node in self._nodes.values())

    def _note_peak(self) -> None:
        self.peak = max(self.peak, self._held())

    def _happen(self, what: _What, name: str, count: int, at_s: float) -> None:
        node = self._nodes[name]
        match what:
            case _What.START:
                self.pods += 1
                node.waiting.append(at_s)
            case _What.END:
                self._bound -= 1
                self._push(at_s + self._model.cooldown_s, _What.RESTED, name)
            case _What.RESTED:
                node.free += 1
            case _What.ASSIGNED:
                node.coming -= count
                node.free += count
                node.held += count
            case _What.TRIM:
                self._trim(node, at_s)

    def _settle(self, name: str, at_s: float) -> None:
        """Give what is free to who waits, ask for what is missing, mark what is too much."""
        node, model = self._nodes[name], self._model
        while node.waiting and node.free:
            since_s = node.waiting.pop(0)
            node.free -= 1
            self._bound += 1
            self.waited += at_s > since_s
            self.longest_s = max(self.longest_s, at_s - since_s)
        missing = len(node.waiting) + model.min_free - node.free - node.coming
        while missing > 0:
            count = min(missing, BATCH)
            missing -= count
            node.coming += count
            self.calls += 1
            self._push(at_s + model.assign_s, _What.ASSIGNED, name, count)
        is_surplus = node.free > model.max_free
        if is_surplus and node.surplus_since is None:
            node.surplus_since = at_s
            self._push(at_s + model.trim_after_s, _What.TRIM, name)
        elif not is_surplus:
            node.surplus_since = None

    def _trim(self, node: _Node, at_s: float) -> None:
        """Give back what has been too much for long enough."""
        if node.surplus_since is None or at_s - node.surplus_since < self._model.trim_after_s:
            return
        surplus = node.free - self._model.max_free
        node.free -= surplus
        node.held -= surplus
        node.surplus_since = None
        self.calls += -(-surplus // BATCH)


def replay(spans: Sequence[PodSpan], model: PoolModel) -> Replay:
    """Return what a pool with `model` on each node would have done with the pods of `spans`."""
    return _Replayer(spans, model).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermarks:
    """A proposal for min_pool_size and max_pool_size, and what it costs."""

    min_free: int
    max_free: int
    outcome: Replay


# Watermarks that people would write; the steps between them change little.
_LOW = (0, 1, 2, 3, 5, 8, 10, 15, 20, 30)
_ABOVE = (0, 2, 5, 10, 20, 40)


def propose_watermarks(
    spans: Sequence[PodSpan],
    *,
    most_waiting: float = 0.01,
    most_calls: float = 0.5,
    timing: PoolModel | None = None,
) -> Watermarks:
    """Return the watermarks that waste least while at most that share of the pods waits.

    They need at most `most_calls` for a pod: an account has so many a minute for all its nodes.
    When no watermarks reach that, those with the fewest waiting pods.
    """
    base = timing or PoolModel(min_free=0, max_free=0)
    tried = [
        Watermarks(min_free=low, max_free=low + more, outcome=replay(spans, model))
        for low in _LOW
        for more in _ABOVE
        for model in [
            PoolModel(
                min_free=low,
                max_free=low + more,
                assign_s=base.assign_s,
                cooldown_s=base.cooldown_s,
                trim_after_s=base.trim_after_s,
            )
        ]
    ]
    calm = [one for one in tried if one.outcome.calls <= most_calls * one.outcome.pods] or tried
    fit = [one for one in calm if one.outcome.waited <= most_waiting * one.outcome.pods]
    if fit:
        return min(fit, key=lambda one: (one.outcome.wasted, one.outcome.calls))
    return min(calm, key=lambda one: (one.outcome.waited, one.outcome.wasted))


def exhausted_after_s(spans: Sequence[PodSpan], usable: int) -> float:
    """Return the seconds from the last event until `usable` addresses are too few.

    The number of running pods is continued by the line that fits it best (least squares over its
    steps); infinity when it does not grow, 0 when it is there already.
    """
    steps = sorted(
        [(one.start_s, 1) for one in spans] + [(one.end_s, -1) for one in spans if one.end_s != inf]
    )
    points: list[tuple[float, int]] = []
    running = 0
    for at_s, change in steps:
        running += change
        points.append((at_s, running))
    if max((count for _, count in points), default=0) >= usable:
        return 0.0
    slope = _slope(points)
    return (usable - running) / slope if slope > 0 else inf


def _slope(points: Sequence[tuple[float, int]]) -> float:
    """Return pods per second of the line of least squares."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
