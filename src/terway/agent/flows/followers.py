"""Who follows the flow log, what do they want, and what waits for them?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

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
        self._most = most
        self._waiting: deque[Line] = deque()
        self._filled = asyncio.Event()
        self._dropped: Remark | None = None

    def tell(self, line: Line) -> None:
        """Have a line read, if it is wanted. Never waits."""
        if isinstance(line, RecordedFlow):
            if not self._wanted.matches(line):
                return
            if len(self._waiting) >= self._most:
                before = self._dropped.lost if self._dropped else 0
                self._dropped = Remark(time=line.time, node=line.node, lost=before + line.count)
                return
        self._waiting.append(line)
        self._filled.set()

    async def lines(self) -> AsyncIterator[Line]:
        """Yield lines until cancelled."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._dropped is not None:
                dropped, self._dropped = self._dropped, None
                yield dropped
            self._filled.clear()
            if not self._waiting:
                await self._filled.wait()
