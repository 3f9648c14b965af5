"""Which backend does bpf/choose.h choose? The same question, answered in Python."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from tests.support.service_tables import End

_MASK = 0xFFFFFFFF


def mixed(value: int) -> int:
    """Return the finalizer of MurmurHash3."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & _MASK
    value ^= value >> 13
    value = value * 0xC2B2AE35 & _MASK
    return value ^ value >> 16


def hash_of(source: End, destination: End, protocol: int) -> int:
    """Return the hash of a connection as its client sends it."""
    value = protocol
    for end in (source, destination):
        packed = ip_address(end.host).packed.ljust(16, b"\0")
        for word in struct.unpack("!4I", packed):
            value = mixed(value ^ word)
    return mixed(value ^ (source.port << 16 | destination.port))


def highest(backends: Sequence[int], hash_: int) -> int:
    """Return the backend of a small set: the first of those with the highest hash."""
    return max(backends, key=lambda number: mixed(hash_ ^ mixed(number)))


def of_table(slots: Mapping[int, int], table: int, size: int, hash_: int) -> int:
    """Return the backend of a large set."""
    return slots[table + hash_ % size]


def crc32c(data: bytes) -> int:
    """Return the CRC32c of RFC 9260, appendix A, bit by bit."""
    crc = _MASK
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ _MASK
