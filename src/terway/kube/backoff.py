"""How long to wait before the next try, when the API server does not answer?"""

from __future__ import annotations

from random import Random


class Backoff:
    """Delays that double from `initial_s` to `maximum_s`, each drawn between half and all of it.

    The jitter keeps a thousand nodes from coming back in step after the API server was away.
    """

    def __init__(self, rng: Random, *, initial_s: float = 0.5, maximum_s: float = 30.0) -> None:
        self._rng = rng
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        self._next_s = initial_s

    def next_s(self) -> float:
        """Return the next delay in seconds."""
        delay_s = self._next_s * self._rng.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._maximum_s)
        return delay_s

    def reset(self) -> None:
        """Start over: the last try succeeded."""
        self._next_s = self._initial_s
