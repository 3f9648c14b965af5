"""What does a workload of the past say about watermarks, and about the size of vSwitches?"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from terway.capacity.trace import (
    PodSpan,
    PoolModel,
    Watermarks,
    exhausted_after_s,
    propose_watermarks,
    replay,
)
from terway.cli.table import table_lines
from terway.model.errors import UsageError

_USUAL = ((0, 0), (0, 5), (5, 10), (10, 20))
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReport:
    """What some watermarks would have cost, the ones to take, and how long addresses last."""

    tried: tuple[Watermarks, ...]
    proposed: Watermarks
    exhausted_after_days: float | None  # None: never, as far as this workload goes

    def __str__(self) -> str:
        heads = ("MIN", "MAX", "WAITED", "LONGEST", "WASTED", "PEAK", "CALLS")
        rows = [_row(one) for one in (*self.tried, self.proposed)]
        proposal = (
            f'"min_pool_size": {self.proposed.min_free}, "max_pool_size": {self.proposed.max_free}'
        )
        days = self.exhausted_after_days
        lasts = "" if days is None else f"\naddresses run out {days:.1f} days after its end"
        means = "waited: pods, for a call to the cloud; wasted: addresses of nobody, on average"
        return (
            "\n".join([*table_lines(heads, rows), means])
            + f"\n\nproposed (last line): {proposal}{lasts}"
        )


def _row(one: Watermarks) -> tuple[str, ...]:
    out = one.outcome
    return (
        str(one.min_free),
        str(one.max_free),
        f"{out.waited} of {out.pods}",
        f"{out.longest_wait_s:.1f} s",
        f"{out.wasted:.1f}",
        str(out.peak),
        str(out.calls),
    )


def trace_report(path: Path, addresses: int) -> TraceReport:
    """Return what the pods in `path` say; `addresses` are those of their vSwitches, 0: not said."""
    spans = read_trace(path)
    tried = tuple(
        Watermarks(
            min_free=low,
            max_free=high,
            outcome=replay(spans, PoolModel(min_free=low, max_free=high)),
        )
        for low, high in _USUAL
    )
    left_s = exhausted_after_s(spans, addresses) if addresses else inf
    return TraceReport(
        tried=tried,
        proposed=propose_watermarks(spans),
        exhausted_after_days=None if left_s == inf else left_s / _DAY_S,
    )


def read_trace(path: Path) -> tuple[PodSpan, ...]:
    """Return the pods in a CSV with the heads node,start_s,end_s, or a JSON list of the same.

    An empty end is a pod that still runs. Raises UsageError with the line.
    """
    text = path.read_text()
    if text.lstrip().startswith("["):
        try:
            rows: Iterable[Mapping[str, object]] = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}", field="--trace") from error
    else:
        rows = csv.DictReader(text.splitlines())
    spans = tuple(_span(path, number, row) for number, row in enumerate(rows, 1))
    if not spans:
        raise UsageError(f"{path} has no pods: write node,start_s,end_s", field="--trace")
    return spans


def _span(path: Path, number: int, row: Mapping[str, object]) -> PodSpan:
    try:
        end = row.get("end_s")
        span = PodSpan(
            node=str(row["node"]),
            start_s=float(str(row["start_s"])),
            end_s=inf if end in (None, "") else float(str(end)),
        )
    except (KeyError, ValueError, AttributeError) as error:
        text = f"{path}, pod {number}: {error}: each has node, start_s and end_s (seconds)"
        raise UsageError(text, field="--trace") from error
    if span.end_s < span.start_s:
        text = f"{path}, pod {number}: ends at {span.end_s:g}, before its start {span.start_s:g}"
        raise UsageError(text, field="--trace")
    return span
