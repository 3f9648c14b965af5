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
        for table in _COUNTED:
            grows = after[table] > before[table]
            if grows and usage.counts[table] + after[table] > self.of(table):
                raise NoRoomError(table.value)


class Usage:
    """How many entries each map has."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTED, 0)
        self.slots = 0
        self.lines = 0

    def replace(self, old: Placed, new: Placed) -> None:
        """Count that one service's entries were exchanged."""
        before, after = _counts(old), _counts(new)
        for table in _COUNTED:
            self.counts[table] += after[table] - before[table]
        self.slots += _slots(new) - _slots(old)
        self.lines += len(new.lines) - len(old.lines)


_COUNTED = (Table.FRONTENDS, Table.SETS, Table.BACKENDS, Table.SOURCE_RANGES)


def _slots(placed: Placed) -> int:
    return sum(line.slot_count for line in placed.lines)


def _counts(placed: Placed) -> dict[Table, int]:
    lines = placed.lines
    return {
        Table.FRONTENDS: sum(len(line.frontends) for line in lines),
        Table.SETS: sum(bool(line.cluster) + bool(line.local) for line in lines),
        Table.BACKENDS: sum(line.backend_count for line in lines),
        Table.SOURCE_RANGES: sum(len(line.ranges) for line in lines),
    }
