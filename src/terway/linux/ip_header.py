"""Who talks to whom in this IP packet, by which protocol and ports? From its first bytes.

Source: RFC 791, RFC 8200 (extension headers), RFC 9293, 768, 9260, 792, 4443.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import IPAddress

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
_WITH_PORTS = frozenset({TCP, UDP, SCTP})
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})  # hop-by-hop, routing, destination, …
_FRAGMENT, _AUTHENTICATION = 44, 51
_SYN, _SYN_ACK_RST_FIN = 0x02, 0x17
_V4, _V6 = 20, 40  # bytes of the shortest headers


@dataclass(frozen=True, slots=True, kw_only=True)
class IPHeader:
    """A packet's ends. Ports are 0 where the protocol has none, or they are in no first fragment.

    `protocol` is the number of IANA's list; `icmp_type` is of ICMP and ICMPv6 only. `is_opening`
    is False for TCP that is no connection's first packet: not SYN alone.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int | None = None
    is_opening: bool = True


def parse_ip_header(packet: bytes) -> IPHeader | None:
    """Return what a packet's first bytes say, None when they are no IP header."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= _V4:
        return _parse_v4(packet)
    if version == 6 and len(packet) >= _V6:
        return _parse_v6(packet)
    return None


def _parse_v4(packet: bytes) -> IPHeader:
    (fragment,) = struct.unpack_from("!H", packet, 6)
    at = (packet[0] & 0x0F) * 4
    return _with_transport(
        packet,
        IPv4Address(packet[12:16]),
        IPv4Address(packet[16:20]),
        protocol=packet[9],
        at=None if fragment & 0x1FFF else at,
    )


def _parse_v6(packet: bytes) -> IPHeader:
    protocol, at = _past_extensions(packet)
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    return _with_transport(packet, source, destination, protocol=protocol, at=at)


def _past_extensions(packet: bytes) -> tuple[int, int | None]:
    """Return the protocol above all extension headers, and where it begins; None: not in here."""
    kind, at = packet[6], _V6
    while at + 8 <= len(packet):
        if kind in _EXTENSIONS:
            length = (packet[at + 1] + 1) * 8
        elif kind == _AUTHENTICATION:
            length = (packet[at + 1] + 2) * 4
        elif kind == _FRAGMENT:
            (offset,) = struct.unpack_from("!H", packet, at + 2)
            if offset >> 3:
                return packet[at], None
            length = 8
        else:
            return kind, at
        kind, at = packet[at], at + length
    return kind, at


def _with_transport(
    packet: bytes, source: IPAddress, destination: IPAddress, *, protocol: int, at: int | None
) -> IPHeader:
    ports = (0, 0)
    icmp_type = None
    is_opening = True
    if at is not None and protocol in _WITH_PORTS and len(packet) >= at + 4:
        ports = struct.unpack_from("!HH", packet, at)
    if at is not None and protocol in (ICMP, ICMPV6) and len(packet) > at:
        icmp_type = packet[at]
    if at is not None and protocol == TCP and len(packet) > at + 13:
        is_opening = packet[at + 13] & _SYN_ACK_RST_FIN == _SYN
    return IPHeader(
        source=source,
        destination=destination,
        protocol=protocol,
        source_port=ports[0],
        destination_port=ports[1],
        icmp_type=icmp_type,
        is_opening=is_opening,
    )
