"""How the numbers and lists of nf_tables lie in netlink attributes: big-endian, nested.

Source: include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from terway.linux.netlink.codec import ATTR, NLA_TYPE_MASK, attr, attributes, nested

SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
FAMILY_INET = 1
LIST_ELEM = 1
DATA_VALUE, DATA_VERDICT = 1, 2

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_NFGENMSG = struct.Struct(">BBH")


def nfgenmsg(family: int = FAMILY_INET, resource: int = 0) -> bytes:
    """Return the header that every message of nfnetlink begins with."""
    return _NFGENMSG.pack(family, 0, resource)


HEADER_SIZE = _NFGENMSG.size


def number(kind: int, value: int) -> bytes:
    """Return an attribute with 32 bits, signed or not."""
    return attr(kind, _U32.pack(value & 0xFFFFFFFF))


def long_number(kind: int, value: int) -> bytes:
    """Return an attribute with 64 bits."""
    return attr(kind, _U64.pack(value))


def word(kind: int, value: str) -> bytes:
    """Return an attribute with a name."""
    return attr(kind, value.encode() + b"\0")


def data(kind: int, value: bytes) -> bytes:
    """Return an attribute with a register's content."""
    return nested(kind, attr(DATA_VALUE, value))


def read_number(payload: bytes | None) -> int | None:
    """Return the 32 bits of an attribute, None where it is absent."""
    return None if payload is None else int(_U32.unpack(payload)[0])


def read_signed(payload: bytes) -> int:
    """Return the 32 bits of an attribute as a number with a sign."""
    return int.from_bytes(payload, "big", signed=True)


def read_data(payload: bytes | None) -> bytes:
    """Return a register's content, empty where there is none."""
    return b"" if payload is None else attributes(payload).get(DATA_VALUE, b"")


def items(payload: bytes) -> Iterator[bytes]:
    """Yield what each attribute of a list holds."""
    start, end = 0, len(payload)
    while start + 4 <= end:
        length, kind = ATTR.unpack_from(payload, start)
        if length < 4 or start + length > end:
            return
        if kind & NLA_TYPE_MASK == LIST_ELEM:
            yield payload[start + 4 : start + length]
        start += (length + 3) & ~3
