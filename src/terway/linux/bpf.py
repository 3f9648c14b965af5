"""eBPF maps, and the names (pins) of maps and programs in bpffs. Blocking, but fast.

Loading is `linux/libbpf.py`. One map call costs about 3 us, so maps are used from any thread.
Source: bpf(2), include/uapi/linux/bpf.h (union bpf_attr).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from terway.linux.bpf_call import bpf, info, translate, try_bpf
from terway.model.errors import BugError

_MAP_LOOKUP = 1
_MAP_UPDATE = 2
_MAP_DELETE = 3
_MAP_NEXT_KEY = 4
_OBJ_PIN = 6
_OBJ_GET = 7
_MAP_LOOKUP_BATCH = 24

_ELEMENT = struct.Struct("=IxxxxQQQ")  # map, key, value or next key, flags
_BATCH = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, map, element flags, flags
_PIN = struct.Struct("=QII")  # path, fd, flags
_MAP_INFO = struct.Struct("=IIIIII16s")  # type, id, key, value, entries, flags, name
_MAP_INFO_BYTES = 80

_PER_CPU_TYPES = frozenset({5, 6, 10, 21})  # per-CPU hash, array, LRU hash, cgroup storage
_FULL = frozenset((errno.E2BIG, errno.ENOSPC))  # of hashes, of tries
_NO_BATCH_TYPES = frozenset({11})  # LPM trie: batches came later than for hashes
_BATCH_ENTRIES = 4096

_Buffer: TypeAlias = "ctypes.Array[ctypes.c_char]"


@cache
def possible_cpus() -> int:
    """Return for how many CPUs a per-CPU map holds a value."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A map in the kernel. Keys and values are bytes; `contract` modules say what they mean.

    The value of a per-CPU map is one value for each possible CPU, each padded to 8 bytes.
    """

    fd: int
    name: str
    type: int
    key_size: int
    value_size: int  # as declared
    max_entries: int

    @property
    def value_bytes(self) -> int:
        """Return the size of a value as bpf(2) copies it."""
        if self.type in _PER_CPU_TYPES:
            return (self.value_size + 7) // 8 * 8 * possible_cpus()
        return self.value_size

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        wanted = self._key(key)
        value = ctypes.create_string_buffer(self.value_bytes)
        found = self._element(_MAP_LOOKUP, wanted, ctypes.addressof(value))
        return value.raw if found else None

    def update(self, key: bytes, value: bytes) -> None:
        """Put `value` at `key`. Raises TransientError when the map is full."""
        if len(value) != self.value_bytes:
            raise BugError(f"map {self.name}: value of {len(value)} bytes, not {self.value_bytes}")
        wanted = self._key(key)
        given = ctypes.create_string_buffer(value, len(value))
        self._element(_MAP_UPDATE, wanted, ctypes.addressof(given), tolerate_absence=False)

    def delete(self, key: bytes) -> bool:
        """Delete `key`; return whether it was there."""
        return self._element(_MAP_DELETE, self._key(key), 0)

    def keys(self) -> Iterator[bytes]:
        """Iterate over the keys. Entries that come or go meanwhile may be missed or repeated."""
        following = ctypes.create_string_buffer(self.key_size)
        current: ctypes.Array[ctypes.c_char] | None = None
        while self._element(_MAP_NEXT_KEY, current, ctypes.addressof(following)):
            yield following.raw
            current = self._key(following.raw)

    def items(self) -> dict[bytes, bytes]:
        """Return all entries."""
        if self.type in _NO_BATCH_TYPES | _PER_CPU_TYPES:
            found = ((key, self.lookup(key)) for key in list(self.keys()))
            return {key: value for key, value in found if value is not None}
        return self._items_by_batch()

    def count(self) -> int:
        """Return how many entries there are. Some 0.3 s for a million."""
        if self.type in _NO_BATCH_TYPES | _PER_CPU_TYPES:
            return sum(1 for _ in self.keys())
        return sum(count for _, _, count in self._batches())

    def _key(self, key: bytes) -> ctypes.Array[ctypes.c_char]:
        if len(key) != self.key_size:
            raise BugError(f"map {self.name}: key of {len(key)} bytes, not {self.key_size}")
        return ctypes.create_string_buffer(key, len(key))

    def _element(
        self,
        command: int,
        key: ctypes.Array[ctypes.c_char] | None,
        value: int,
        *,
        tolerate_absence: bool = True,
    ) -> bool:
        where = 0 if key is None else ctypes.addressof(key)
        try:
            bpf(command, _ELEMENT.pack(self.fd, where, value, 0))
        except OSError as error:
            if tolerate_absence and error.errno == errno.ENOENT:
                return False
            if command == _MAP_UPDATE and error.errno in _FULL:
                what = f"map {self.name} is full, with room for {self.max_entries} entries"
            else:
                what = f"map {self.name}, command {command}"
            raise translate(error, what) from error
        return True

    def _items_by_batch(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for keys, values, count in self._batches():
            found.update(self._split(keys.raw, values.raw, count))
        return found

    def _batches(self) -> Iterator[tuple[_Buffer, _Buffer, int]]:
        """Yield keys, values and how many there are, in buffers that are used again."""
        count = min(self.max_entries, _BATCH_ENTRIES)
        keys = ctypes.create_string_buffer(count * self.key_size)
        values = ctypes.create_string_buffer(count * self.value_size)
        position = ctypes.create_string_buffer(max(self.key_size, 8))
        start, more = 0, True
        while more:
            got, more = self._batch(start, position, keys, values, count)
            yield keys, values, got
            start = ctypes.addressof(position)

    def _batch(
        self,
        start: int,
        position: ctypes.Array[ctypes.c_char],
        keys: ctypes.Array[ctypes.c_char],
        values: ctypes.Array[ctypes.c_char],
        count: int,
    ) -> tuple[int, bool]:
        attr = _BATCH.pack(
            start,
            ctypes.addressof(position),
            ctypes.addressof(keys),
            ctypes.addressof(values),
            count,
            self.fd,
            0,
            0,
        )
        result, filled = try_bpf(_MAP_LOOKUP_BATCH, attr)
        if result < 0 and result != -errno.ENOENT:  # ENOENT: that was the last batch
            error = OSError(-result, os.strerror(-result))
            raise translate(error, f"map {self.name}, lookup batch")
        return int(_BATCH.unpack(filled)[4]), result == 0

    def _split(self, keys: bytes, values: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
        for i in range(count):
            key = keys[i * self.key_size : (i + 1) * self.key_size]
            yield key, values[i * self.value_size : (i + 1) * self.value_size]


def map_of(fd: int) -> Map:
    """Return the map behind a descriptor; the descriptor stays the caller's."""
    kind, _id, key, value, entries, _flags, name = _MAP_INFO.unpack_from(info(fd, _MAP_INFO_BYTES))
    return Map(
        fd=fd,
        name=name.split(b"\0")[0].decode(),
        type=kind,
        key_size=key,
        value_size=value,
        max_entries=entries,
    )


def pin(fd: int, path: Path) -> None:
    """Give a program or map a name in bpffs, which keeps it alive. ConflictError if it exists."""
    where = ctypes.create_string_buffer(os.fsencode(path))
    try:
        bpf(_OBJ_PIN, _PIN.pack(ctypes.addressof(where), fd, 0))
    except OSError as error:
        raise translate(error, f"pin to {path}") from error


def open_pinned(path: Path) -> int | None:
    """Return a descriptor, the caller's to close, of what is pinned at `path`; None if nothing."""
    where = ctypes.create_string_buffer(os.fsencode(path))
    try:
        return bpf(_OBJ_GET, _PIN.pack(ctypes.addressof(where), 0, 0))[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise translate(error, f"open pin {path}") from error
