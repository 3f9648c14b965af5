"""The maps of services in the kernel: operations written, and what is there read. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from terway.linux.bpf import Map
from terway.linux.bpf_batch import delete_many, update_many
from terway.linux.ebpf.contract import BACKEND_SET
from terway.service.changes import MapOperation, Put
from terway.service.contents import Table, pack_number
from terway.service.memory import Memory, remember
from terway.service.room import Room

SIZE_KEY = "ebpf_service_entries"  # of eni-config


class ServiceMaps(Protocol):
    """Where services are written to."""

    @property
    def room(self) -> Room:
        """Return how many entries fit."""

    def apply(self, operations: Iterable[MapOperation]) -> None:
        """Do the operations in order."""

    def remember(self) -> Memory:
        """Return what the last terwayd has left."""


class KernelServiceMaps:
    """The maps of the loaded data path, by name."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = {table: maps[table.value] for table in Table}

    @property
    def room(self) -> Room:
        """Return how many entries fit; one of `sets` is kept for the numbers that were given."""
        sizes = {table.value: one.max_entries for table, one in self._maps.items()}
        return Room(**{**sizes, "sets": sizes["sets"] - 1})

    def apply(self, operations: Iterable[MapOperation]) -> None:
        """Do the operations in order: 0.3 us an entry. Raises TransientError on the way."""
        for one in operations:
            if isinstance(one, Put):
                update_many(self._maps[one.table], dict(one.entries))
            else:
                delete_many(self._maps[one.table], one.keys)

    def remember(self) -> Memory:
        """Return what the last terwayd has left: 2 us an entry. Of slots, those of large sets."""
        held: dict[Table, Mapping[bytes, bytes]] = {}
        for table, one in self._maps.items():
            if table is not Table.SLOTS:
                held[table] = one.items()
        slots: dict[bytes, bytes] = {}
        for value in held[Table.SETS].values():
            found = BACKEND_SET.integers(value)
            for place in range(
                found["table"], found["table"] + found["size"] * bool(found["count"])
            ):
                key = pack_number(place)
                slots[key] = self._maps[Table.SLOTS].lookup(key) or key
        held[Table.SLOTS] = slots
        return remember(held)
