"""Sides are measured in turn, and a number that stands for many was really measured."""

from __future__ import annotations

import pytest
from bench.alternate import alternate
from bench.stats import median, percentile


async def test_the_sides_take_turns_and_the_first_turn_is_not_kept():
    log: list[str] = []

    async def measure(name):
        log.append(name)
        return len(log)

    kept = await alternate(
        2, {"a": lambda: measure("a"), "b": lambda: measure("b")}, show=lambda _: None
    )

    assert log == ["a", "b"] * 3
    assert kept == {"a": [3, 5], "b": [4, 6]}


@pytest.mark.parametrize(
    ("samples", "percent", "value"),
    [([3.0], 99, 3.0), ([4, 1, 3, 2], 50, 2), (range(1, 101), 99, 99), (range(1, 101), 100, 100)],
)
def test_a_percentile_is_one_of_the_samples(samples, percent, value):
    assert percentile(list(samples), percent) == value


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        median([])
