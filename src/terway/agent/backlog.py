"""What waits for one who reads a stream, and what was left out because it read too slowly?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")
L = TypeVar("L")


class Backlog(Generic[T, L]):
    """Lines that wait, `most` of them; `missed` is the line that tells what had no room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[T] = deque()
        self._filled = asyncio.Event()
        self.missed: L | None = None

    @property
    def is_full(self) -> bool:
        """Return whether what may be left out has no room."""
        return len(self._waiting) >= self._most

    def put(self, line: T) -> None:
        """Have a line read, room or not."""
        self._waiting.append(line)
        self._filled.set()

    async def lines(self) -> AsyncIterator[T | L]:
        """Yield lines until cancelled; what was missed after those that came before it."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self.missed is not None:
                missed, self.missed = self.missed, None
                yield missed
            self._filled.clear()
            if not self._waiting:
                await self._filled.wait()
