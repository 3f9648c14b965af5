"""Which single number stands for many measurements?"""

from __future__ import annotations

from collections.abc import Sequence


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: a value that was really measured."""
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    ranked = sorted(samples)
    rank = max(1, -(-len(ranked) * percent // 100))
    return ranked[int(rank) - 1]


def median(samples: Sequence[float]) -> float:
    """Return the 50th percentile."""
    return percentile(samples, 50)
