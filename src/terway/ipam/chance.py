"""A coin without a mint: numbers that differ from node to node, and are the same in a replay."""

from __future__ import annotations

import zlib

_FIRST_S = 1.0
_LONGEST_S = 60.0
_JITTER = 0.5


def fraction(seed: str, number: int) -> float:
    """Return a number in [0, 1) that looks random and depends on the arguments only."""
    return zlib.crc32(f"{seed}/{number}".encode()) / 2**32


def backoff_s(failures: int, *, seed: str) -> float:
    """Return how long to wait after that many failures in a row: 1 s doubling to 60 s, jittered.

    The jitter keeps nodes that were refused together from coming back together.
    """
    longest = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
    return longest * (1 - _JITTER * fraction(seed, failures))
