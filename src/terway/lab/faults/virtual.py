"""On which clock does a history run? One on which time passes only when everybody waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from terway.model.errors import BugError

T = TypeVar("T")
BOOTED_S = 1000.0  # what the clock shows at the beginning


class _InstantSelector(selectors.SelectSelector):
    """Waits for nothing, and looks at nothing: there are no sockets in a history."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise BugError("everybody waits, and nothing will ever happen")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a clock of its own."""

    def __init__(self) -> None:
        self.now = BOOTED_S
        selector = _InstantSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time."""
        return self.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
