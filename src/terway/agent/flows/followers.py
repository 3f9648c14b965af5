"""Who follows the flow log, what do they want, and what waits for them?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from terway.agent.backlog import Backlog
from terway.policy.records.flow_filter import FlowFilter
from terway.policy.records.recorded import Line, RecordedFlow, Remark

_MOST_WAITING = 2000  # records; some 2 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be logged. What is denied always is; of what is allowed one in `sample`, 0: none.

    The wishes of several are met by the one that has most.
    """

    sample: int = 0

    def __or__(self, other: Wish) -> Wish:
        asked = [one.sample for one in (self, other) if one.sample]
        return Wish(sample=min(asked, default=0))


class Follower:
    """One who reads. What it does not take in time is thrown away, and said."""

    def __init__(self, wanted: FlowFilter, wish: Wish, *, most: int = _MOST_WAITING) -> None:
        self.wish = wish
        self.has_begun = False  # whether it was told that what it wishes is logged now
        self._wanted = wanted
        self._backlog: Backlog[Line, Remark] = Backlog(most)

    def tell(self, line: Line) -> None:
        """Have a line read, if it is wanted. Never waits."""
        if isinstance(line, RecordedFlow):
            if not self._wanted.matches(line):
                return
            if self._backlog.is_full:
                before = self._backlog.missed.lost if self._backlog.missed else 0
                dropped = Remark(time=line.time, node=line.node, lost=before + line.count)
                self._backlog.missed = dropped
                return
        self._backlog.put(line)

    def lines(self) -> AsyncIterator[Line]:
        """Yield lines until cancelled."""
        return self._backlog.lines()
