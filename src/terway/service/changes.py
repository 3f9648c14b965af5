"""What can happen to services, and what must then be done to the maps, in order.

Objects come packed (msgspec's MessagePack of a value): that is how they are kept, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import msgspec

from terway.service.contents import Table
from terway.service.values import Here, HostPort, Service, Slice


@cache
def _decoder(kind: type[Service] | type[Slice]) -> msgspec.msgpack.Decoder[Service | Slice]:
    return msgspec.msgpack.Decoder(kind)


_encoder = msgspec.msgpack.Encoder()


def pack(value: Service | Slice) -> bytes:
    """Return a value as it is kept."""
    return _encoder.encode(value)


def unpack_service(packed: bytes) -> Service:
    """Return the service that was packed."""
    found = _decoder(Service).decode(packed)
    assert isinstance(found, Service)
    return found


def unpack_slice(packed: bytes) -> Slice:
    """Return the slice that was packed."""
    found = _decoder(Slice).decode(packed)
    assert isinstance(found, Slice)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SetService:
    """A service is as `packed` says."""

    key: str
    packed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DropService:
    """A service is gone, or not ours."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSlice:
    """A slice of `service` is as `packed` says."""

    key: str
    service: str
    packed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSlice:
    """A slice is gone, or not ours."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHere:
    """The node is as this says."""

    here: Here


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHostPorts:
    """A pod has these ports of the node; none: it is gone."""

    pod: str
    ports: tuple[HostPort, ...]


ServiceChange = SetService | DropService | SetSlice | DropSlice | SetHere | SetHostPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write entries of a map."""

    table: Table
    entries: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete entries of a map. Those that are not there are no matter."""

    table: Table
    keys: tuple[bytes, ...]


MapOperation = Put | Delete


@dataclass(slots=True, kw_only=True)
class Batch:
    """Operations as they gather: what is new, then what leads to it, then what nobody needs."""

    fresh: dict[Table, dict[bytes, bytes]] = field(default_factory=dict)
    sets: dict[bytes, bytes] = field(default_factory=dict)
    frontends: dict[bytes, bytes] = field(default_factory=dict)
    flags: dict[bytes, bytes] = field(default_factory=dict)  # backends that rest, or work again
    gone: dict[Table, dict[bytes, None]] = field(default_factory=dict)

    def make(self, table: Table, key: bytes, value: bytes) -> None:
        """Write what nothing leads to yet."""
        self.fresh.setdefault(table, {})[key] = value

    def remove(self, table: Table, key: bytes) -> None:
        """Delete what nothing leads to any more."""
        self.gone.setdefault(table, {})[key] = None

    def operations(self) -> tuple[MapOperation, ...]:
        """Return what is to be done, in a safe order.

        A packet sees a frontend with the whole old set or the whole new one; the backends of
        both are there.
        """
        puts = (
            *((table, self.fresh.get(table, {})) for table in _FRESH),
            (Table.SETS, self.sets),
            (Table.FRONTENDS, self.frontends),
            (Table.BACKENDS, self.flags),
        )
        return (
            *(Put(table=t, entries=tuple(entries.items())) for t, entries in puts if entries),
            *(Delete(table=t, keys=tuple(self.gone[t])) for t in _GONE if self.gone.get(t)),
        )


_FRESH = (Table.SETS, Table.BACKENDS, Table.SLOTS, Table.SOURCE_RANGES)
_GONE = (Table.FRONTENDS, Table.SETS, Table.SOURCE_RANGES, Table.BACKENDS)
