"""Which recorded connections would other policies newly allow, or newly deny?

Records are gathered by who talked to whom on which port; two nodes may have told of the same
connection. Each is judged in a cluster of its own two ends, with the labels of the moment or those
of today: the pods themselves may be gone, and their addresses be others'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster
from terway.policy.evaluate import evaluate
from terway.policy.flow import Verdict
from terway.policy.policies import Policy
from terway.policy.records.ends_cluster import ends_cluster
from terway.policy.records.recorded import RecordedFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was recorded of two ends and one port. Counts are connections, by the samples."""

    flow: RecordedFlow  # the last of them
    allowed: int
    denied: int

    @property
    def parties(self) -> tuple[str, str]:
        """Return who answers for the two ends."""
        return self.flow.source.owner, self.flow.destination.owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Recorded connections that would be treated otherwise. `count` are those it is about.

    `is_so_now`: the policies of today treat them like that already; None: these are not known.
    """

    seen: Seen
    verdict: Verdict
    count: int
    is_so_now: bool | None = None

    @property
    def is_allowed(self) -> bool:
        """Return what they would be."""
        return self.verdict.is_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Whatif:
    """The answer. `unjudged` could not be asked about, with the reason."""

    shifts: tuple[Shift, ...]
    unchanged: int
    unjudged: tuple[tuple[Seen, str], ...] = ()


def gather(records: Iterable[RecordedFlow]) -> tuple[Seen, ...]:
    """Return what was recorded, each pair of ends and port once, in the order of appearance."""
    told: dict[object, list[RecordedFlow]] = defaultdict(list)
    for record in records:
        told[_identity(record)].append(record)
    return tuple(_gathered(found) for found in told.values())


def _identity(record: RecordedFlow) -> object:
    flow = record.flow()
    return flow.source, flow.destination, record.protocol, record.port, flow.family


def _gathered(records: list[RecordedFlow]) -> Seen:
    allowed: dict[NodeName, int] = defaultdict(int)
    denied = 0
    for one in records:
        if one.is_allowed:
            allowed[one.node] += one.count * one.sample
        else:
            denied += one.count
    last = max(records, key=lambda one: one.time)
    # What the source lets out the destination may still deny: its node has the last word.
    home = last.destination.node
    final = any(one.node == home for one in records) and home is not None
    passed = allowed.get(home, 0) if final and home else max(allowed.values(), default=0)
    return Seen(flow=last, allowed=passed, denied=denied)


def whatif(
    seen: Iterable[Seen],
    policies: Iterable[Policy],
    *,
    cluster: Cluster | None = None,
    now: Iterable[Policy] | None = None,
) -> Whatif:
    """Return what `policies` would change. `cluster` is today's; `now` are today's policies."""
    wanted = Judge(policies, cluster or Cluster())
    today = None if now is None else Judge(now, cluster or Cluster())
    shifts: list[Shift] = []
    unjudged: list[tuple[Seen, str]] = []
    unchanged = 0
    for one in seen:
        try:
            shift = _shift(one, wanted, today)
        except UsageError as error:
            unjudged.append((one, str(error)))
            continue
        if shift is None:
            unchanged += 1
        else:
            shifts.append(shift)
    return Whatif(shifts=tuple(shifts), unchanged=unchanged, unjudged=tuple(unjudged))


def _shift(seen: Seen, wanted: Judge, today: Judge | None) -> Shift | None:
    verdict = wanted.verdict(seen.flow)
    count = seen.denied if verdict.is_allowed else seen.allowed
    if not count:
        return None
    is_so_now = None
    if today is not None:
        is_so_now = today.verdict(seen.flow).is_allowed is verdict.is_allowed
    return Shift(seen=seen, verdict=verdict, count=count, is_so_now=is_so_now)


class Judge:
    """Policies that are asked about records. Of `cluster`, what records do not tell better."""

    def __init__(self, policies: Iterable[Policy], cluster: Cluster) -> None:
        self._cluster = cluster
        self._by_namespace: dict[str, list[Policy]] = defaultdict(list)
        for policy in policies:
            self._by_namespace[policy.key.namespace].append(policy)

    def verdict(self, record: RecordedFlow) -> Verdict:
        """Return what both sides would say. Raises UsageError where they cannot be asked."""
        ends = (record.source, record.destination)
        spaces = dict.fromkeys((*(one.pod.namespace for one in ends if one.pod), ""))
        policies = [policy for name in spaces for policy in self._by_namespace.get(name, ())]
        return evaluate(ends_cluster(ends, self._cluster), policies, record.flow())
