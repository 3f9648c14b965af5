"""How are two sides measured so that the machine's mood hits both alike?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

T = TypeVar("T")
Measure = Callable[[], Awaitable[T]]


async def alternate(
    rounds: int, sides: Mapping[str, Measure[T]], *, show: Callable[[str], None]
) -> dict[str, list[T]]:
    """Run the sides in turn, A B A B …, `rounds` times each, after one round that is not kept.

    `show` prints progress: it gets a line for every round.
    """
    kept: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        show("warm-up" if turn == 0 else f"round {turn} of {rounds}")
        for name, measure in sides.items():
            measured = await measure()
            if turn:
                kept[name].append(measured)
    return kept
