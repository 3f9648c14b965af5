"""What the maps hold, as bytes: bpf/contract.h, written by struct.

tests/property/test_service_contents.py compares each with linux/ebpf/contract.py, whose test asks
the built object. IPv4 addresses are the first four of sixteen bytes; ports are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum

SET_INLINE = 16
FLAG_AFFINITY = 0x1
FLAG_SOURCE_RANGES = 0x2
FLAG_EXTERNAL = 0x4
FLAG_LOCAL_OUTSIDE = 0x8
FLAG_NODE_PORT = 0x10
FLAG_HOST_PORT = 0x20
BACKEND_RESTS = 0x1  # BACKEND_TERMINATING: it goes on with what it has, and gets nothing new
LINE_SHIFT = 8  # BACKEND_LINE_SHIFT
LINES_MAX = 1 << 24

IDENTITY_BYTES = 20  # of a backend: address, port, protocol, family; equal to a frontend's key
FRONTEND_BYTES = 20
_END = struct.Struct("=16s2sBB")
_FRONTEND = struct.Struct("=IIIII")
_SET = struct.Struct("=III64s")
_NUMBERS = [struct.Struct(f"={count}I") for count in range(SET_INLINE + 1)]
_BACKEND = struct.Struct("=20sI")
_RANGE = struct.Struct("=III16s")
_RANGE_BEFORE = 64
_U32 = struct.Struct("=I")
_FAMILY = {4: 4, 16: 6, 0: 0}


class Table(Enum):
    """The maps that are written here."""

    __hash__ = object.__hash__  # members are single; Enum's own is in Python, and ten times slower

    FRONTENDS = "frontends"
    SETS = "sets"
    SLOTS = "slots"
    BACKENDS = "backends"
    SOURCE_RANGES = "source_ranges"


def family_of(address: bytes) -> int:
    """Return 4 or 6."""
    return _FAMILY[len(address)]


def pack_end(address: bytes, port: int, protocol: int, family: int) -> bytes:
    """Return an address and port: a frontend's key, or what makes a backend itself."""
    return _END.pack(address, port.to_bytes(2, "big"), protocol, family)


def unpack_end(end: bytes) -> tuple[bytes, int, int, int]:
    """Return address, port, protocol and family."""
    address, port, protocol, family = _END.unpack(end)
    return address[: 4 if family == 4 else 16], int.from_bytes(port, "big"), protocol, family


def pack_frontend(line: int, inside: int, outside: int, affinity_s: int, flags: int) -> bytes:
    """Return the value of a frontend."""
    return _FRONTEND.pack(line, inside, outside, affinity_s, flags)


def unpack_frontend(value: bytes) -> tuple[int, int, int, int, int]:
    """Return line, inside, outside, affinity and flags."""
    found: tuple[int, int, int, int, int] = _FRONTEND.unpack(value)
    return found


def pack_small_set(backends: Sequence[int]) -> bytes:
    """Return the value of a set that is chosen from by rendezvous."""
    count = len(backends)
    return _SET.pack(count, 0, 0, _NUMBERS[count].pack(*backends))


def pack_large_set(count: int, table: int, size: int) -> bytes:
    """Return the value of a set with a table in `slots`."""
    return _SET.pack(count, table, size, b"")


def unpack_set(value: bytes) -> tuple[int, int, int, tuple[int, ...]]:
    """Return count, table, size and, of a small one, the backends."""
    count, table, size, numbers = _SET.unpack(value)
    small = count if count <= SET_INLINE else 0
    return count, table, size, _NUMBERS[small].unpack_from(numbers)


def pack_backend(identity: bytes, flags: int, line: int) -> bytes:
    """Return the value of a backend of a line."""
    return _BACKEND.pack(identity, flags | line << LINE_SHIFT)


def unpack_backend(value: bytes) -> tuple[bytes, int, int]:
    """Return identity, flags and line."""
    identity, flags = _BACKEND.unpack(value)
    return identity, flags & ((1 << LINE_SHIFT) - 1), flags >> LINE_SHIFT


def pack_range(line: int, network: bytes, length: int) -> bytes:
    """Return the key of a source range of a line."""
    return _RANGE.pack(_RANGE_BEFORE + length, line, family_of(network), network)


def unpack_range_line(key: bytes) -> int:
    """Return the line of a source range."""
    line: int = _RANGE.unpack(key)[1]
    return line


def pack_set_aside(reserved: int) -> bytes:
    """Return the value of set 0, which nothing leads to: which numbers were given, or may be."""
    return _SET.pack(0, 0, reserved, b"")


def pack_number(number: int) -> bytes:
    """Return a number as keys and slots have it."""
    return _U32.pack(number)


def unpack_number(number: bytes) -> int:
    """Return the number of a key or slot."""
    found: int = _U32.unpack(number)[0]
    return found
