"""The text format of Prometheus: gauges, counters, counters in buckets, and how they are written.

The client library of Prometheus costs 1.4 MB resident (it brings two HTTP servers along), which
is a thirtieth of what terwayd may have; the format is a page. It is here because terwayd and
terway-controlplane both speak it.
Source: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A metric of which only the present values are known."""

    name: str
    text: str
    values: Mapping[Labels, float]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the exposition."""
        yield from _head(self.name, self.text, "gauge")
        for labels, value in self.values.items():
            yield f"{self.name}{_written(labels)} {_number(value)}"


@dataclass(slots=True, kw_only=True)
class Counter:
    """A metric that only grows."""

    name: str
    text: str
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, labels: Labels = (), value: float = 1.0) -> None:
        """Count `value` more."""
        self.values[labels] = self.values.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Yield the lines of the exposition."""
        yield from _head(self.name, self.text, "counter")
        for labels, value in self.values.items():
            yield f"{self.name}{_written(labels)} {_number(value)}"


@dataclass(slots=True)
class _Series:
    counts: list[int]  # one per bucket, not added up; the last is for what is beyond all
    total: float = 0.0


@dataclass(slots=True, kw_only=True)
class Histogram:
    """A metric of durations, counted in `buckets` (upper bounds, ascending)."""

    name: str
    text: str
    buckets: Sequence[float]
    _series: dict[Labels, _Series] = field(default_factory=dict)

    def observe(self, labels: Labels, value: float) -> None:
        """Count one value."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series([0] * (len(self.buckets) + 1))
        series.counts[bisect_left(self.buckets, value)] += 1
        series.total += value

    def forget(self, labels: Labels) -> None:
        """Show these labels no more: what they name is gone."""
        self._series.pop(labels, None)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the exposition: buckets add up, as the format wants it."""
        yield from _head(self.name, self.text, "histogram")
        bounds = (*map(_number, self.buckets), "+Inf")
        for labels, series in self._series.items():
            count = 0
            for bound, more in zip(bounds, series.counts, strict=True):
                count += more
                yield f"{self.name}_bucket{_written((*labels, ('le', bound)))} {count}"
            yield f"{self.name}_count{_written(labels)} {count}"
            yield f"{self.name}_sum{_written(labels)} {_number(series.total)}"


class Metric(Protocol):
    """Anything that can be written."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the exposition."""


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value))
