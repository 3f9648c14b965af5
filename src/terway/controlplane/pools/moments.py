"""When was what, and when will it be, in the words of the API? Here: monotonic seconds."""

from __future__ import annotations

from collections.abc import Callable

from terway.kube.clock import format_time, parse_time

_STEADY_S = 1.5  # a time of the API has whole seconds, and clocks drift


class Moments:
    """Two clocks, and when the cloud is next read for all nodes; None: it will not be.

    What a quiet node shows of that is renewed within `spread_s` of the reading.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self.began_at = clock()
        self.reads_at: float | None = None
        self.spread_s = 0.0

    def now(self) -> float:
        """Return the monotonic time."""
        return self._clock()

    def text(self, at: float | None, before: str | None = None) -> str | None:
        """Return a moment as the API has it: `before`, where that says the same."""
        if at is None:
            return None
        wall = at - self._clock() + self._wall_clock()
        if before is not None and abs(parse_time(before) - wall) < _STEADY_S:
            return before
        return format_time(wall)

    def moment(self, text: str) -> float:
        """Return a time of the API as a moment."""
        return parse_time(text) - self._wall_clock() + self._clock()
