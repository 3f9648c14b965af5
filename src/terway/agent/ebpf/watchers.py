"""Who watches the data path, what do they want, and what waits for them?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from terway.agent.backlog import Backlog
from terway.datapath.happening import Happened, LeftOut, Line, Wanted

_MOST_WAITING = 4000  # records of one watcher; some 2 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a watcher wants told: of flows one in `one_in`, at most `per_second`."""

    wanted: Wanted
    one_in: int = 1
    per_second: int = 2000


class Listener(Protocol):
    """One who watches: somebody who reads, or a part of terwayd that is told at once."""

    wish: Wish
    has_begun: bool  # whether it was told that the programs tell now

    def tell(self, line: Line) -> None:
        """Take a line, if it is wanted. Never waits."""


class Watcher:
    """One who reads. What it does not take in time is thrown away, and said."""

    def __init__(self, wish: Wish, *, most: int = _MOST_WAITING) -> None:
        self.wish = wish
        self.has_begun = False  # whether it was told that the programs tell now
        self._backlog: Backlog[Line, LeftOut] = Backlog(most)

    def tell(self, line: Line) -> None:
        """Have a line read, if it is wanted. Never waits."""
        if isinstance(line, Happened):
            if not self.wish.wanted.matches(line):
                return
            if self._backlog.is_full:
                before = self._backlog.missed.count if self._backlog.missed else 0
                left_out = LeftOut(time=line.time, node=line.node, count=before + 1)
                self._backlog.missed = left_out
                return
        self._backlog.put(line)

    def lines(self) -> AsyncIterator[Line]:
        """Yield lines until cancelled."""
        return self._backlog.lines()


class Watchers:
    """All who watch now. `changed` is set when one comes or goes.

    `in_force` is what the programs tell, None: nothing; `trouble` says why, where they should.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.in_force: Wish | None = None
        self.trouble = ""
        self._all: list[Listener] = []

    def __bool__(self) -> bool:
        """Return whether anybody watches."""
        return bool(self._all)

    def __len__(self) -> int:
        """Return how many watch."""
        return len(self._all)

    @contextmanager
    def join(self, wish: Wish) -> Iterator[Watcher]:
        """Watch for the block."""
        watcher = Watcher(wish)
        with self.enter(watcher):
            yield watcher

    @contextmanager
    def enter(self, listener: Listener) -> Iterator[None]:
        """Have a listener told for the block."""
        self._all.append(listener)
        self.changed.set()
        try:
            yield
        finally:
            self._all.remove(listener)
            self.changed.set()

    def wish(self) -> Wish | None:
        """Return what meets all wishes; None while nobody watches."""
        wishes = [one.wish for one in self._all]
        if not wishes:
            return None
        pods = {one.wanted.pod for one in wishes}
        return Wish(
            wanted=Wanted(
                losses=any(one.wanted.losses for one in wishes),
                flows=any(one.wanted.flows for one in wishes),
                pod=pods.pop() if len(pods) == 1 else "",
            ),
            one_in=min(one.one_in for one in wishes),
            per_second=max(one.per_second for one in wishes),
        )

    def begin(self, line: Line) -> None:
        """Tell those who came, once, that from here on they hear what they wish."""
        for watcher in self._all:
            if not watcher.has_begun:
                watcher.has_begun = True
                watcher.tell(line)

    def tell(self, lines: Iterable[Line]) -> None:
        """Tell all who want it."""
        for line in lines:
            for watcher in self._all:
                watcher.tell(line)
