"""The maps of services on paper: operations change them, and each step is checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from terway.service.changes import MapOperation, Put
from terway.service.contents import (
    Table,
    pack_number,
    unpack_backend,
    unpack_frontend,
    unpack_number,
    unpack_range_line,
    unpack_set,
)


@dataclass
class PaperMaps:
    """What the kernel would have."""

    tables: dict[Table, dict[bytes, bytes]] = field(
        default_factory=lambda: {table: {} for table in Table}
    )

    def apply(self, operations: Iterable[MapOperation]) -> None:
        """Do the operations in order; after each, a packet must find what it is led to.

        A table that stays in its place has slots of before and of now until its set is written,
        so how many backends it has is asked at the end.
        """
        for operation in operations:
            table = self.tables[operation.table]
            if isinstance(operation, Put):
                table.update(operation.entries)
            else:
                for key in operation.keys:
                    table.pop(key, None)
            self.check()
        for key, value in self.tables[Table.SETS].items():
            if number := unpack_number(key):  # nothing leads to set 0
                assert len(self.backends_of(number)) == unpack_set(value)[0]

    def check(self) -> None:
        """Every set that a frontend leads to has only backends that are there."""
        for value in self.tables[Table.FRONTENDS].values():
            for number in unpack_frontend(value)[1:3]:
                for backend in self.backends_of(number):
                    assert pack_number(backend) in self.tables[Table.BACKENDS]

    def backends_of(self, number: int) -> frozenset[int]:
        value = self.tables[Table.SETS].get(pack_number(number))
        if not number or value is None:
            return frozenset()
        _, start, size, small = unpack_set(value)
        if not size:
            return frozenset(small)
        slots = self.tables[Table.SLOTS]
        return frozenset(
            int.from_bytes(slots[pack_number(place)], "little")
            for place in range(start, start + size)
        )

    def meaning(self) -> dict[bytes, object]:
        """Return what every frontend leads to, without numbers."""
        return {key: self._door(value) for key, value in self.tables[Table.FRONTENDS].items()}

    def sizes(self) -> dict[Table, int]:
        """Return how many entries there are, but for the set that nothing leads to."""
        sizes = {table: len(held) for table, held in self.tables.items()}
        sizes[Table.SETS] -= pack_number(0) in self.tables[Table.SETS]
        return sizes

    def _door(self, value: bytes) -> object:
        line, inside, outside, affinity_s, flags = unpack_frontend(value)
        backends = {
            identity: rests
            for identity, rests, of in map(unpack_backend, self.tables[Table.BACKENDS].values())
            if of == line
        }
        ranges = {
            key[:4] + key[8:]
            for key in self.tables[Table.SOURCE_RANGES]
            if unpack_range_line(key) == line
        }
        return (
            self._identities(inside),
            self._identities(outside) if outside else None,
            affinity_s,
            flags,
            backends,
            ranges,
        )

    def _identities(self, number: int) -> frozenset[bytes]:
        backends = self.tables[Table.BACKENDS]
        return frozenset(
            unpack_backend(backends[pack_number(one)])[0] for one in self.backends_of(number)
        )
