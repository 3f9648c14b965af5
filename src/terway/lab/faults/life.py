"""How does a terwayd end in the middle of something? At a call to its outside, as by SIGKILL.

A life is one process. Every port asks it before and after each call; once it has ended, nothing
that its code still does, when its tasks are torn down, reaches the outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from terway.lab.faults.events import Kill


class Life:
    """One terwayd, from its start to its end. `on_end` is called when it is killed."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._kill: Kill | None = None
        self._left = 0
        self.is_over = False
        self.was_killed = False
        self.calls = 0

    def plan(self, kill: Kill | None) -> None:
        """Have it killed at a call to come; None: let it live."""
        self._kill, self._left = kill, kill.after_calls if kill else 0

    def end(self) -> None:
        """Kill it now."""
        if not self.is_over:
            self.is_over = self.was_killed = True
            self._on_end()

    def enter(self) -> Kill | None:
        """Begin a call: return the kill that is due in it, unless that was due before it."""
        self.go_on()
        self.calls += 1
        if self._kill is None:
            return None
        if self._left:
            self._left -= 1
            return None
        kill, self._kill = self._kill, None
        if kill.when == "before":
            self.end()
            self.go_on()
        return kill

    def leave(self, kill: Kill | None) -> None:
        """End a call: the answer reaches nobody if `kill` was due in it."""
        if kill is not None:
            self.end()
        self.go_on()

    def go_on(self) -> None:
        """Return if it lives. A dead process does nothing: its tasks are being cancelled."""
        if self.is_over:
            raise asyncio.CancelledError
