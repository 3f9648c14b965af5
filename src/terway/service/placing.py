"""Which numbers and entries do a service's lines get, given those that they had?

What stays keeps its number, and a number once given to a backend never means another: programs
remember it. So the entries of a line depend on its history by their numbers, and by nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from terway.service.contents import (
    SET_INLINE,
    pack_frontend,
    pack_large_set,
    pack_range,
    pack_small_set,
    unpack_set,
)
from terway.service.lines import Door, Line
from terway.service.maglev import fill_table, table_size
from terway.service.placed import Placed, PlacedLine, pack_members
from terway.service.slots import SlotSpace

# Numbers of backends are reserved in blocks, so that the next terwayd begins with one that was
# never given, although what was given last may be gone from the maps.
RESERVED = 65536


class NoRoomError(Exception):
    """A map is full: `table` is its name. Stays within the room."""

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


@dataclass(slots=True, kw_only=True)
class Numbers:
    """The next numbers that were never given; `reserved` is the first that nobody may give."""

    line: int = 1
    backend: int = 1
    reserved: int = 1

    def next_line(self) -> int:
        """Return a number for a line."""
        self.line += 1
        return self.line - 1

    def next_backend(self) -> int:
        """Return a number for a backend."""
        self.backend += 1
        return self.backend - 1

    def reserve(self) -> bool:
        """Reserve another block if the last is used up; return whether that was so."""
        if self.backend <= self.reserved:
            return False
        self.reserved = self.backend + RESERVED
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Placer:
    """Gives lines their entries. `is_mine` says whether a frontend is the service's to have."""

    numbers: Numbers
    space: SlotSpace
    taken: list[tuple[int, int]]  # ranges of slots that this round has taken

    def place(self, lines: Iterable[Line], old: Placed, is_mine: Callable[[bytes], bool]) -> Placed:
        """Return the entries of a service. Raises NoRoomError when `slots` is full."""
        return Placed(lines=tuple(self._line(one, old.line(one.key), is_mine) for one in lines))

    def _line(
        self, line: Line, old: PlacedLine | None, is_mine: Callable[[bytes], bool]
    ) -> PlacedLine:
        number = self.numbers.next_line() if old is None else old.number
        doors: dict[bytes, Door] = {}
        for door in line.doors:
            doors.setdefault(door.key, door)
        lost = tuple(key for key in doors if not is_mine(key))
        if len(lost) == len(doors):
            return PlacedLine(key=line.key, number=number, lost=lost)
        numbers = self._numbers(line, old)
        cluster, cluster_slots = self._set(line, line.cluster, numbers, old, is_local=False)
        local, local_slots = self._set(line, line.local, numbers, old, is_local=True)
        return PlacedLine(
            key=line.key,
            number=number,
            backends=pack_members(
                [
                    (given, one.identity, one.rests)
                    for given, one in zip(numbers, line.members, strict=True)
                ]
            ),
            cluster=cluster,
            local=local,
            cluster_slots=cluster_slots,
            local_slots=local_slots,
            doors=b"".join(
                key + _frontend(number, line, door) for key, door in doors.items() if is_mine(key)
            ),
            lost=lost,
            ranges=tuple(pack_range(number, network, size) for network, size in line.ranges),
        )

    def _numbers(self, line: Line, old: PlacedLine | None) -> list[int]:
        if old is None:
            return [self.numbers.next_backend() for _ in line.members]
        known = old.members()
        return [
            known[one.identity][0] if one.identity in known else self.numbers.next_backend()
            for one in line.members
        ]

    def _set(
        self,
        line: Line,
        places: Sequence[int],
        numbers: Sequence[int],
        old: PlacedLine | None,
        *,
        is_local: bool,
    ) -> tuple[bytes, bytes]:
        if not places:
            return b"", b""
        chosen = sorted(numbers[place] for place in places)
        if len(chosen) <= SET_INLINE:
            return pack_small_set(chosen), b""
        names = {numbers[place]: line.members[place].identity for place in places}
        if old is None:
            return self._large(names, b"", b"")
        if is_local:
            return self._large(names, old.local, old.local_slots)
        return self._large(names, old.cluster, old.cluster_slots)

    def _large(
        self, names: dict[int, bytes], old_value: bytes, old_slots: bytes
    ) -> tuple[bytes, bytes]:
        """Return value and table of a large set; the table stays where it is if its size does."""
        size = table_size(len(names))
        if old_slots and set(array("I", old_slots)) == names.keys():
            return old_value, old_slots
        chosen = list(names)
        table = fill_table([names[one] for one in chosen], size)
        slots = array("I", [chosen[place] for place in table]).tobytes()
        _, start, old_size, _ = unpack_set(old_value) if old_slots else (0, 0, 0, ())
        if old_size != size:
            start = self._take(size)
        return pack_large_set(len(names), start, size), slots

    def _take(self, size: int) -> int:
        start = self.space.take(size)
        if start is None:
            raise NoRoomError("slots")
        self.taken.append((start, size))
        return start


def _frontend(number: int, line: Line, door: Door) -> bytes:
    cluster, local = 2 * number, 2 * number + 1
    inside = local if door.inside_local else cluster
    outside = 0 if door.outside_local is None else local if door.outside_local else cluster
    return pack_frontend(number, inside, outside, line.affinity_s, door.flags)
