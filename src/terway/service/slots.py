"""Where in `slots` is room for another table?"""

from __future__ import annotations

from collections.abc import Iterable


class SlotSpace:
    """The free ranges of an array of `size` slots, as start and length."""

    def __init__(self, size: int, used: Iterable[tuple[int, int]] = ()) -> None:
        self._free: list[tuple[int, int]] = [(0, size)] if size else []
        for start, length in sorted(used):
            self._cut(start, length)

    def take(self, length: int) -> int | None:
        """Return the start of a range that is free no more; None: there is none so long."""
        for start, room in self._free:
            if room >= length:
                self._cut(start, length)
                return start
        return None

    def give_back(self, start: int, length: int) -> None:
        """Have a range free again."""
        merged: list[tuple[int, int]] = []
        for one in sorted([*self._free, (start, length)]):
            if merged and merged[-1][0] + merged[-1][1] == one[0]:
                merged[-1] = (merged[-1][0], merged[-1][1] + one[1])
            else:
                merged.append(one)
        self._free = merged

    def _cut(self, start: int, length: int) -> None:
        cut: list[tuple[int, int]] = []
        for at, room in self._free:
            if at <= start and start + length <= at + room:
                cut += [(at, start - at), (start + length, at + room - start - length)]
            else:
                cut.append((at, room))
        self._free = [one for one in cut if one[1]]
