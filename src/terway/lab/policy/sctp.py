"""What do SCTP's first two packets look like? For kernels without SCTP: packets, no association.

INIT and its answer are enough to know whether a connection may be made, and connection tracking
knows them. Source: RFC 9260, sections 3.1, 3.3.2, 3.3.3 and appendix A (CRC-32c).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

PROTOCOL = 132
INIT, INIT_ACK, ABORT = 1, 2, 6
_HEADER = struct.Struct("!HHI")  # source port, destination port, verification tag; then CRC-32c
_CHUNK = struct.Struct("!BBH")  # type, flags, length
_BODY = struct.Struct("!IIHHI")  # tag, window, streams out and in, first sequence number
_COOKIE = struct.pack("!HH4s", 7, 8, b"lab.")  # an INIT ACK has one
_WINDOW = 65536
_CASTAGNOLI = 0x82F63B78


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet with one chunk. `tag` is whom it is for, `own_tag` whom answers are for."""

    source: int
    destination: int
    tag: int
    kind: int
    own_tag: int = 0

    def encode(self) -> bytes:
        """Return the bytes after the IP header."""
        body = _BODY.pack(self.own_tag, _WINDOW, 1, 1, 1) + (
            _COOKIE if self.kind == INIT_ACK else b""
        )
        chunk = _CHUNK.pack(self.kind, 0, _CHUNK.size + len(body)) + body
        header = _HEADER.pack(self.source, self.destination, self.tag)
        return header + struct.pack("<I", crc32c(header + bytes(4) + chunk)) + chunk


def decode(data: bytes) -> Packet | None:
    """Return the packet in the bytes after the IP header; None for what is none."""
    if len(data) < _HEADER.size + 4 + _CHUNK.size:
        return None
    source, destination, tag = _HEADER.unpack_from(data)
    kind = data[_HEADER.size + 4]
    own_tag = 0
    if kind in (INIT, INIT_ACK) and len(data) >= _HEADER.size + 4 + _CHUNK.size + 4:
        own_tag = struct.unpack_from("!I", data, _HEADER.size + 4 + _CHUNK.size)[0]
    return Packet(source=source, destination=destination, tag=tag, kind=kind, own_tag=own_tag)


def crc32c(data: bytes) -> int:
    """Return the checksum of a packet whose checksum field is zero."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    return tuple(_entry(byte) for byte in range(256))


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
    return value
