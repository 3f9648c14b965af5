"""How long did each stage of an operation take?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Times the stages of one operation with `now`, a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.started_at = now()
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; a stage that is entered twice is counted once, with both times."""
        entered_at = self._now()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + self._now() - entered_at

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the operation began."""
        return self._now() - self.started_at
