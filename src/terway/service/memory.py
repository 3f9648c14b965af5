"""What did the terwayd before this one leave in the maps, and which service's is what?

Lines are found again by their frontends. So a new terwayd changes nothing that is right, and
connections keep the backends that programs remember by number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from terway.service.contents import (
    Table,
    pack_number,
    unpack_backend,
    unpack_frontend,
    unpack_number,
    unpack_range_line,
    unpack_set,
)
from terway.service.lines import Line
from terway.service.placed import NOTHING, Placed, PlacedLine, pack_members
from terway.service.placing import Numbers

Maps = Mapping[Table, Mapping[bytes, bytes]]

_NO_KEY = b""


class Memory:
    """Lines by number, until somebody recalls them."""

    def __init__(self, lines: Iterable[PlacedLine] = (), *, reserved: int = 1) -> None:
        self._lines = {line.number: line for line in lines}
        self._by_frontend = {
            key: line.number for line in self._lines.values() for key, _ in line.frontends()
        }
        numbers = [n for line in self._lines.values() for n, _ in line.members().values()]
        backend = max([reserved, *(n + 1 for n in numbers)])
        self.numbers = Numbers(
            line=max(self._lines, default=0) + 1, backend=backend, reserved=reserved
        )

    def used_slots(self) -> list[tuple[int, int]]:
        """Return the ranges of `slots` that are in use."""
        values = (value for one in self._lines.values() for _, value, slots in one.sets() if slots)
        return [(start, size) for _, start, size, _ in map(unpack_set, values)]

    @property
    def is_full(self) -> bool:
        """Return whether there is something that nobody has recalled."""
        return bool(self._lines)

    def recall(self, lines: Iterable[Line], is_mine: Callable[[bytes], bool]) -> Placed:
        """Return, once, what was left of a service that has these lines and frontends."""
        if not self._lines:
            return NOTHING
        found = ((line, self._find(line, is_mine)) for line in lines)
        return Placed(lines=tuple(_named(held, line) for line, held in found if held is not None))

    def rest(self) -> Iterator[PlacedLine]:
        """Yield what nobody has recalled."""
        yield from self._lines.values()

    def _find(self, line: Line, is_mine: Callable[[bytes], bool]) -> PlacedLine | None:
        for door in line.doors:
            number = self._by_frontend.get(door.key)
            if number in self._lines and is_mine(door.key):
                return self._lines.pop(number)
        return None


def _named(held: PlacedLine, line: Line) -> PlacedLine:
    return PlacedLine(
        key=line.key,
        number=held.number,
        backends=held.backends,
        cluster=held.cluster,
        local=held.local,
        cluster_slots=held.cluster_slots,
        local_slots=held.local_slots,
        doors=held.doors,
        ranges=held.ranges,
    )


def remember(maps: Maps) -> Memory:
    """Return what the maps have."""
    sets = {unpack_number(key): value for key, value in maps[Table.SETS].items()}
    aside = sets.pop(0, None)
    reserved = 1 if aside is None else unpack_set(aside)[2]
    return Memory(_lines_of(maps, sets), reserved=max(reserved, 1))


def _lines_of(maps: Maps, sets: Mapping[int, bytes]) -> Iterator[PlacedLine]:
    frontends: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    members: dict[int, list[tuple[int, bytes, bool]]] = defaultdict(list)
    ranges: dict[int, list[bytes]] = defaultdict(list)
    for key, value in maps[Table.FRONTENDS].items():
        frontends[unpack_frontend(value)[0]].append((key, value))
    for key, value in maps[Table.BACKENDS].items():
        identity, flags, line = unpack_backend(value)
        members[line].append((unpack_number(key), identity, bool(flags)))
    for key in maps[Table.SOURCE_RANGES]:
        ranges[unpack_range_line(key)].append(key)
    lines = {*frontends, *members, *ranges, *(number // 2 for number in sets)}
    slots = maps[Table.SLOTS]
    for line in sorted(lines):
        cluster, local = sets.get(2 * line, b""), sets.get(2 * line + 1, b"")
        yield PlacedLine(
            key=_NO_KEY,
            number=line,
            backends=pack_members(sorted(members[line])),
            cluster=cluster,
            local=local,
            cluster_slots=_table(cluster, slots),
            local_slots=_table(local, slots),
            doors=b"".join(key + value for key, value in frontends[line]),
            ranges=tuple(sorted(ranges[line])),
        )


def _table(value: bytes, slots: Mapping[bytes, bytes]) -> bytes:
    """Return a set's table; none where it reaches past a map that is smaller now."""
    if not value:
        return b""
    _, start, size, _ = unpack_set(value)
    found = [slots.get(pack_number(place), b"") for place in range(start, start + size)]
    return b"".join(found) if all(found) else b""
