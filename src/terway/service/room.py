"""How much of each map is used, and does that fit?"""

from __future__ import annotations

from dataclasses import dataclass

from terway.service.contents import Table
from terway.service.placed import Placed
from terway.service.placing import NoRoomError


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many entries each map can have."""

    frontends: int
    sets: int
    backends: int
    slots: int
    source_ranges: int

    def of(self, table: Table) -> int:
        """Return the room in one map."""
        return int(getattr(self, table.value))

    def check(self, usage: Usage, old: Placed, new: Placed) -> None:
        """Raise NoRoomError if the maps cannot have `new` beside and instead of `old`.

        What goes is removed last, so both must fit at once.
        """
        before, after = _counts(old), _counts(new)
        for place, table in enumerate(_COUNTED):
            grows = after[place] > before[place]
            if grows and usage.counts[place] + after[place] > self.of(table):
                raise NoRoomError(table.value)


class Usage:
    """How many entries each map has."""

    def __init__(self) -> None:
        self.counts = [0] * len(_COUNTED)
        self.slots = 0
        self.lines = 0

    def of(self, table: Table) -> int:
        """Return how many entries one map has."""
        return self.slots if table is Table.SLOTS else self.counts[_COUNTED.index(table)]

    def replace(self, old: Placed, new: Placed) -> None:
        """Count that one service's entries were exchanged."""
        before, after = _counts(old), _counts(new)
        for place in range(len(_COUNTED)):
            self.counts[place] += after[place] - before[place]
        self.slots += _slots(new) - _slots(old)
        self.lines += len(new.lines) - len(old.lines)


_COUNTED = (Table.FRONTENDS, Table.SETS, Table.BACKENDS, Table.SOURCE_RANGES)


def _slots(placed: Placed) -> int:
    return sum(line.slot_count for line in placed.lines)


def _counts(placed: Placed) -> tuple[int, int, int, int]:
    """Return how many entries of `_COUNTED` there are."""
    frontends = sets = backends = ranges = 0
    for line in placed.lines:
        frontends += line.frontend_count
        sets += bool(line.cluster) + bool(line.local)
        backends += line.backend_count
        ranges += len(line.ranges)
    return frontends, sets, backends, ranges
