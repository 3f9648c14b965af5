"""What the maps have of one service: its entries, as few bytes as possible.

There is one for each of thousands of services; it is looked at only when that one changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Packer

from msgspec import Struct

from terway.service.contents import (
    BACKEND_RESTS,
    FRONTEND_BYTES,
    IDENTITY_BYTES,
    unpack_set,
)

_DOOR = Packer(f"={IDENTITY_BYTES}s{FRONTEND_BYTES}s")
_RECORD = Packer(f"=I{IDENTITY_BYTES}sI")  # number, identity, flags


class PlacedLine(Struct, frozen=True, kw_only=True, gc=False):
    """The entries of one line. Its sets have the numbers 2n (cluster) and 2n + 1 (local)."""

    key: bytes  # of the Line
    number: int
    backends: bytes = b""  # records
    cluster: bytes = b""  # the value in `sets`; empty: no entry
    local: bytes = b""
    cluster_slots: bytes = b""  # a large set's table, as `slots` has it
    local_slots: bytes = b""
    doors: bytes = b""  # keys and values of its frontends
    lost: tuple[bytes, ...] = ()  # frontends that another service has
    ranges: tuple[bytes, ...] = ()

    def sets(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield number, value and slots of the sets that are there."""
        if self.cluster:
            yield 2 * self.number, self.cluster, self.cluster_slots
        if self.local:
            yield 2 * self.number + 1, self.local, self.local_slots

    def members(self) -> dict[bytes, tuple[int, int]]:
        """Return number and flags of each backend, by identity."""
        return {
            identity: (number, flags)
            for number, identity, flags in _RECORD.iter_unpack(self.backends)
        }

    def frontends(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of each frontend."""
        return _DOOR.iter_unpack(self.doors)

    def wanted(self) -> tuple[bytes, ...]:
        """Return the keys of all frontends that it wants."""
        return (*(key for key, _ in self.frontends()), *self.lost)

    @property
    def frontend_count(self) -> int:
        """Return how many frontends there are."""
        return len(self.doors) // _DOOR.size

    @property
    def backend_count(self) -> int:
        """Return how many backends there are."""
        return len(self.backends) // _RECORD.size

    @property
    def slot_count(self) -> int:
        """Return how many slots its tables have."""
        return sum(unpack_set(value)[2] for _, value, slots in self.sets() if slots)


class Placed(Struct, frozen=True, kw_only=True, gc=False):
    """All lines of one service."""

    lines: tuple[PlacedLine, ...] = ()

    def line(self, key: bytes) -> PlacedLine | None:
        """Return one line."""
        return next((one for one in self.lines if one.key == key), None)


NOTHING = Placed()


def pack_members(members: list[tuple[int, bytes, bool]]) -> bytes:
    """Return the records of backends: number, identity, and whether each rests."""
    pack = _RECORD.pack
    return b"".join(
        [
            pack(number, identity, BACKEND_RESTS if rests else 0)
            for number, identity, rests in members
        ]
    )
