"""What does one measurement need to know, and which figures does it yield?"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for: the figures, and how thoroughly."""

    figures: frozenset[str]
    quick: bool = False

    def wants(self, figure: str) -> bool:
        """Return whether `figure` was asked for."""
        return figure in self.figures

    def rounds(self, thorough: int) -> int:
        """Return how many rounds to run: `thorough`, or enough to try the harness."""
        return min(thorough, 2) if self.quick else thorough


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Figures that one measurement yields together."""

    figures: tuple[str, ...]
    title: str
    measure: Callable[[Order], Awaitable[list[Record]]]


_began = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress with the seconds since the start."""
    print(f"{time.monotonic() - _began:6.1f} s  {text}", file=sys.stderr, flush=True)
