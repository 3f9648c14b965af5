"""What is a packet with other ends? Made from nothing: every header, piece and checksum anew.

bpf/rewrite.h changes what is there instead: both come to the same bytes where both are right.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from terway.lab.vpc.oracle.answers import checksum
from tests.support.choice_oracle import crc32c
from tests.support.service_tables import End
from tests.support.whole_packets import TCP, UDP, transport_sum

SCTP = 132
KIND = {4: b"\x08\x00", 6: b"\x86\xdd"}
_FRAGMENT = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A packet without its ends.

    `words` are 4 bytes each of IPv4 options, or IPv6 extension headers of 8 bytes. `cut`: bytes
    of the transport that are in the first of two pieces, 0 for a whole packet.
    """

    protocol: int
    payload: bytes
    tcp_flags: int
    words: int = 0
    cut: int = 0
    has_sum: bool = True


def frames(
    shape: Shape, source: End, destination: End, *, macs: bytes, ttl: int = 64
) -> tuple[bytes, ...]:
    """Return the frames, one or two, in which the packet travels."""
    whole = segment(shape, source, destination)
    cuts = ((whole[: shape.cut], 0, True), (whole[shape.cut :], shape.cut, False))
    pieces = cuts if shape.cut else ((whole, 0, False),)
    packet = _ipv4 if source.family == 4 else _ipv6
    return tuple(
        macs + KIND[source.family] + packet(shape, source, destination, ttl, *piece)
        for piece in pieces
    )


def segment(shape: Shape, source: End, destination: End) -> bytes:
    """Return the transport header and what it carries."""
    ports = struct.pack("!HH", source.port, destination.port)
    if shape.protocol == SCTP:
        total = crc32c(ports + bytes(8) + shape.payload) if shape.has_sum else 0
        return ports + bytes(4) + total.to_bytes(4, "little") + shape.payload
    if shape.protocol == TCP:
        head = ports + struct.pack("!IIBBHHH", 1, 0, 0x50, shape.tcp_flags, 65535, 0, 0)
        return _summed(head + shape.payload, 16, TCP, source, destination)
    head = ports + struct.pack("!HH", 8 + len(shape.payload), 0)
    if not shape.has_sum:
        return head + shape.payload
    return _summed(head + shape.payload, 6, UDP, source, destination)


def _summed(whole: bytes, at: int, protocol: int, source: End, destination: End) -> bytes:
    total = transport_sum(source, destination, protocol, whole)
    return whole[:at] + total.to_bytes(2, "big") + whole[at + 2 :]


def _ipv4(
    shape: Shape, source: End, destination: End, ttl: int, body: bytes, offset: int, more: bool
) -> bytes:
    options = b"\x01" * (4 * shape.words)  # no-operation
    field = offset // 8 | (0x2000 if more else 0)
    size = 20 + len(options) + len(body)
    head = struct.pack("!BBHHHBBH", 0x45 + shape.words, 0, size, 7, field, ttl, shape.protocol, 0)
    head += ip_address(source.host).packed + ip_address(destination.host).packed + options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def _ipv6(
    shape: Shape, source: End, destination: End, ttl: int, body: bytes, offset: int, more: bool
) -> bytes:
    kinds = [60] * shape.words  # destination options
    headers = [bytes(6)] * shape.words
    if shape.cut:
        kinds.append(_FRAGMENT)
        headers.append(struct.pack("!HI", offset | int(more), 9))
    following = [*kinds[1:], shape.protocol]
    extensions = (
        b"".join(
            bytes((next_one, 0)) + rest for next_one, rest in zip(following, headers, strict=True)
        )
        if kinds
        else b""
    )
    size = len(extensions) + len(body)
    head = struct.pack("!IHBB", 6 << 28, size, (kinds or following)[0], ttl)
    ends = ip_address(source.host).packed + ip_address(destination.host).packed
    return head + ends + extensions + body
