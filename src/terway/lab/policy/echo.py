"""How is an ICMP echo asked for, and which packet is its answer? The kernel of the asked answers.

Source: RFC 792 (types 8 and 0) and RFC 4443 (128 and 129); raw(7): a socket for IPv4 gets the
packet with its header, and for ICMPv6 the kernel computes the checksum.
"""

from __future__ import annotations

import socket
import struct

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence


def protocol_of(version: int) -> int:
    """Return the protocol that an echo of a family is."""
    return socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6


def request(version: int, number: int) -> bytes:
    """Return the request with a number, below 2**32, by which its answer is known."""
    whole = _HEADER.pack(_REQUEST[version], 0, 0, number >> 16, number & 0xFFFF)
    checksum = _checksum(whole) if version == 4 else 0
    return _HEADER.pack(_REQUEST[version], 0, checksum, number >> 16, number & 0xFFFF)


def is_reply(version: int, packet: bytes, number: int) -> bool:
    """Return whether what a raw socket received answers the request with this number."""
    start = (packet[0] & 15) * 4 if version == 4 and packet else 0
    if len(packet) < start + _HEADER.size:
        return False
    kind, _, _, high, low = _HEADER.unpack_from(packet, start)
    return bool(kind == _REPLY[version] and high << 16 | low == number)


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
