"""Which packets are one record? Alike but for the port of the client, within one second.

A value and two steps, without a clock. A client that is denied tries again and again; a page opens
six connections at once: one line each, with how often. Where a table and a program see the same
packet, it is counted by the one that saw more of its like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from terway.policy.records.recorded import RecordedFlow

WINDOW_S = 1.0
_MOST_OPEN = 4096


@dataclass(slots=True)
class _Open:
    flow: RecordedFlow
    until: float
    counts: Counter[Hashable] = field(default_factory=Counter)  # by who saw it


class Folds:
    """The records that may still be seen again. Times are monotonic seconds."""

    def __init__(self, *, most: int = _MOST_OPEN) -> None:
        self._open: dict[Hashable, _Open] = {}
        self._most = most

    def count(self, key: Hashable, seer: Hashable) -> bool:
        """Count one more of what is open under `key`; return whether there is such a record."""
        found = self._open.get(key)
        if found is not None:
            found.counts[seer] += 1
        return found is not None

    def begin(
        self, key: Hashable, seer: Hashable, flow: RecordedFlow, *, now: float
    ) -> RecordedFlow | None:
        """Open a record. Returns the oldest one, closed, where there are too many."""
        oldest = next(iter(self._open)) if len(self._open) >= self._most else None
        closed = None if oldest is None else _closed(self._open.pop(oldest))
        self._open[key] = _Open(flow=flow, until=now + WINDOW_S, counts=Counter((seer,)))
        return closed

    def close(self, *, now: float) -> tuple[RecordedFlow, ...]:
        """Return the records whose second is over, the oldest first."""
        over: list[Hashable] = []
        for key, one in self._open.items():
            if one.until > now:
                break  # they were begun in the order of time
            over.append(key)
        return tuple(_closed(self._open.pop(key)) for key in over)

    @property
    def next_at(self) -> float | None:
        """Return when the next record is to be closed, None when none is open."""
        return next((one.until for one in self._open.values()), None)


def _closed(one: _Open) -> RecordedFlow:
    return replace(one.flow, count=max(one.counts.values()))
