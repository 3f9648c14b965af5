"""On which clock does a history run? One on which time passes only when everybody waits."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Coroutine, Generator
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


class _NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set follows from its number, not from where it lies in memory.

    A task group cancels its tasks in the order of a set.
    """

    made = itertools.count()

    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(self.made)  # first: to be made is to be put into a set
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a clock of its own."""

    def __init__(self) -> None:
        self.now = BOOTED_S
        _NumberedTask.made = itertools.count()
        selector = _InstantSelector()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(self._make_task)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> asyncio.Future[T]:
        return _NumberedTask(coroutine, loop=loop, **options)

    def time(self) -> float:
        """Return the virtual time."""
        return self.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
