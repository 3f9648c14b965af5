"""What is in an IP packet, as the RFCs say: 791, 8200, 4302, 792, 4443, 9293, 768."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import Family, IPAddress

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
_EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION})
_EXTENSIONS_MAX = 6

_ECHO = {Family.V4: (8, 0), Family.V6: (128, 129)}  # request, reply
_ERRORS = {Family.V4: (3, 11, 12), Family.V6: (1, 2, 3, 4)}


class MalformedError(Exception):
    """The headers are cut off or contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One IP packet. `transport` is the offset of its transport header in the packet."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    transport: int
    data: bytes  # without what the link padded
    hop_limit: int
    fragment_id: bytes = b""
    is_fragment: bool = False
    is_later: bool = False  # a fragment without a transport header
    source_port: int = 0  # ICMP echo: the identifier, on the side that asks
    destination_port: int = 0
    transport_len: int = 0
    tcp_flags: int = 0
    icmp: tuple[int, int] | None = None  # type and code

    @property
    def family(self) -> Family:
        """Return the family of the addresses."""
        return Family.V4 if self.source.version == 4 else Family.V6

    @property
    def is_error(self) -> bool:
        """Return whether this is an ICMP error, which quotes another packet."""
        return self.icmp is not None and self.icmp[0] in _ERRORS[self.family]

    @property
    def is_echo_request(self) -> bool:
        """Return whether this is a ping."""
        return self.icmp is not None and self.icmp[0] == _ECHO[self.family][0]

    @property
    def opens_connection(self) -> bool:
        """Return whether this is the first packet of a TCP connection."""
        return self.protocol == TCP and not self.is_later and self.tcp_flags & 0x12 == 0x02


def parse_packet(data: bytes, family: Family, *, is_quoted: bool = False) -> Packet:
    """Read a packet; one that an ICMP error quotes may be cut off after 8 bytes of transport."""
    packet = _ipv4(data, is_quoted) if family is Family.V4 else _ipv6(data, is_quoted)
    if packet.is_later:
        return packet
    if packet.protocol == (ICMP if family is Family.V4 else ICMPV6):
        return _with_icmp(packet)
    if packet.protocol == TCP:
        return _with_tcp(packet, 8 if is_quoted else 20)
    return _with_udp(packet) if packet.protocol == UDP else packet


def _take(data: bytes, start: int, count: int) -> bytes:
    if len(data) < start + count:
        raise MalformedError
    return data[start : start + count]


def _ipv4(data: bytes, is_quoted: bool) -> Packet:
    first, _, total, _, fragment, ttl, protocol = struct.unpack("!BBHHHBB", _take(data, 0, 10))
    _take(data, 0, 20)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20 or total < header:
        raise MalformedError
    if not is_quoted:
        _take(data, 0, total)
    return Packet(
        source=IPv4Address(data[12:16]),
        destination=IPv4Address(data[16:20]),
        protocol=protocol,
        transport=header,
        data=data[:total],
        hop_limit=ttl,
        fragment_id=data[4:6],
        is_fragment=bool(fragment & 0x3FFF),
        is_later=bool(fragment & 0x1FFF),
    )


def _ipv6(data: bytes, is_quoted: bool) -> Packet:
    first, _, length, protocol, hop_limit = struct.unpack("!BBxxHBB", _take(data, 0, 8))
    _take(data, 0, 40)
    if first >> 4 != 6:
        raise MalformedError
    if not is_quoted:
        _take(data, 40, length)
    packet = Packet(
        source=IPv6Address(data[8:24]),
        destination=IPv6Address(data[24:40]),
        protocol=protocol,
        transport=40,
        data=data[: 40 + length],
        hop_limit=hop_limit,
    )
    return _skip_extensions(packet, 40 + length)


def _skip_extensions(packet: Packet, end: int) -> Packet:
    for _ in range(_EXTENSIONS_MAX):
        if packet.protocol in _EXTENSIONS and not packet.is_later:
            packet = _skip_extension(packet)
    if packet.protocol in _EXTENSIONS and not packet.is_later:
        raise MalformedError
    if packet.transport > end:
        raise MalformedError
    return packet


def _skip_extension(packet: Packet) -> Packet:
    header = _take(packet.data, packet.transport, 8)
    if packet.protocol == FRAGMENT:
        offset = int.from_bytes(header[2:4], "big")
        return replace(
            packet,
            protocol=header[0],
            transport=packet.transport + 8,
            is_fragment=True,
            is_later=bool(offset & 0xFFF8),
            fragment_id=header[4:8],
        )
    length = (header[1] + 2) * 4 if packet.protocol == AUTHENTICATION else (header[1] + 1) * 8
    return replace(packet, protocol=header[0], transport=packet.transport + length)


def _with_icmp(packet: Packet) -> Packet:
    header = _take(packet.data, packet.transport, 8)
    identifier = int.from_bytes(header[4:6], "big")
    request, reply = _ECHO[packet.family]
    return replace(
        packet,
        icmp=(header[0], header[1]),
        source_port=identifier if header[0] == request else 0,
        destination_port=identifier if header[0] == reply else 0,
        transport_len=8,
    )


def _with_tcp(packet: Packet, need: int) -> Packet:
    header = _take(packet.data, packet.transport, need).ljust(20, b"\0")
    source, destination = struct.unpack_from("!HH", header)
    return replace(
        packet,
        source_port=source,
        destination_port=destination,
        transport_len=(header[12] >> 4) * 4,
        tcp_flags=header[13],
    )


def _with_udp(packet: Packet) -> Packet:
    header = _take(packet.data, packet.transport, 8)
    source, destination = struct.unpack_from("!HH", header)
    return replace(packet, source_port=source, destination_port=destination, transport_len=8)
