"""Did rules log as much as they may? Then there was more, that nobody was told of.

The kernel drops what is over the limit of a rule before it logs it, and does not count it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

RATE_PER_S = 1000  # of allowed, and of denied, in each namespace: more are not told
_WINDOW_S = 1.0


class Floods:
    """What was logged in this second, by rule. Times are monotonic seconds."""

    def __init__(self, *, rate_per_s: int = RATE_PER_S) -> None:
        self._rate_per_s = rate_per_s
        self._counts: Counter[Hashable] = Counter()
        self._until = 0.0

    def count(self, rules: Iterable[Hashable], *, now: float) -> bool:
        """Count a packet for each of `rules`; return whether one just reached its limit."""
        if now >= self._until:
            self._counts.clear()
            self._until = now + _WINDOW_S
        reached = False
        for rule in rules:
            self._counts[rule] += 1
            reached |= self._counts[rule] == self._rate_per_s
        return reached
