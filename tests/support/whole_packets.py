"""Packets with every checksum right, made from nothing and read strictly.

A translation that forgets a checksum makes a packet that `read_frame` refuses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address

from terway.lab.vpc.oracle.answers import checksum
from tests.support.service_tables import End

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04
MACS = bytes(6) + b"\x02" + bytes(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A TCP or UDP packet; `macs` are destination and source."""

    source: End
    destination: End
    protocol: int = TCP
    flags: int = SYN
    payload: bytes = b"payload"
    ttl: int = 64
    macs: bytes = MACS

    @property
    def family(self) -> int:
        return self.source.family

    def turned(self, **changes: object) -> Whole:
        """Return an answer to it."""
        swapped = replace(self, source=self.destination, destination=self.source, flags=ACK)
        return replace(swapped, **changes)  # type: ignore[arg-type]  # by name

    def segment(self) -> bytes:
        ports = struct.pack("!HH", self.source.port, self.destination.port)
        if self.protocol == TCP:
            head = ports + struct.pack("!IIBBHHH", 1, 0, 0x50, self.flags, 65535, 0, 0)
            at = 16
        else:
            head = ports + struct.pack("!HH", 8 + len(self.payload), 0)
            at = 6
        whole = head + self.payload
        total = transport_sum(self.source, self.destination, self.protocol, whole)
        return whole[:at] + total.to_bytes(2, "big") + whole[at + 2 :]

    def packet(self) -> bytes:
        """Return it from the IP header on."""
        return ip_packet(self.source, self.destination, self.protocol, self.segment(), self.ttl)

    def frame(self) -> bytes:
        kind = b"\x08\x00" if self.family == 4 else b"\x86\xdd"
        return self.macs + kind + self.packet()


def transport_sum(source: End, destination: End, protocol: int, segment: bytes) -> int:
    """Return the checksum over pseudo header and segment, whose own field is zero."""
    ends = ip_address(source.host).packed + ip_address(destination.host).packed
    if source.family == 4:
        pseudo = ends + struct.pack("!BBH", 0, protocol, len(segment))
    else:
        pseudo = ends + struct.pack("!II", len(segment), protocol)
    return checksum(pseudo + segment) or 0xFFFF


def ip_packet(
    source: End, destination: End, protocol: int, body: bytes, ttl: int = 64, fragment: int = 0
) -> bytes:
    """Return an IP packet; `fragment` is the field of IPv4: flags and offset."""
    ends = ip_address(source.host).packed + ip_address(destination.host).packed
    if source.family == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, ttl) + ends + body
    size = 20 + len(body)
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, 7, fragment, ttl, protocol, 0) + ends
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def icmp_error(
    source: End, destination: End, quoted: bytes, *, kind: int = 3, code: int = 4
) -> bytes:
    """Return a frame with an ICMP error about `quoted`, a packet from its IP header on."""
    v6 = source.family == 6
    protocol = ICMPV6 if v6 else ICMP
    body = struct.pack("!BBHI", kind, code, 0, 1400) + quoted
    total = transport_sum(source, destination, protocol, body) if v6 else checksum(body)
    body = body[:2] + total.to_bytes(2, "big") + body[4:]
    return (
        MACS + (b"\x86\xdd" if v6 else b"\x08\x00") + ip_packet(source, destination, protocol, body)
    )


def read_frame(frame: bytes) -> Whole:
    """Return the packet in a frame. Fails where a checksum is wrong."""
    return _read_packet(frame[14:], frame[:12])


def read_error(frame: bytes) -> tuple[str, str, Whole]:
    """Return source, destination and the quoted packet of a frame with an ICMP error."""
    packet = frame[14:]
    source, destination, protocol, body, _ttl = _split(packet)
    if protocol == ICMPV6:
        assert _is_right(source, destination, protocol, body), "checksum of ICMPv6"
    else:
        assert checksum(body) == 0, "checksum of ICMP"
    return source, destination, _read_packet(body[8:], MACS)


def _read_packet(packet: bytes, macs: bytes) -> Whole:
    source, destination, protocol, body, ttl = _split(packet)
    assert _is_right(source, destination, protocol, body), "checksum of the transport"
    ports = struct.unpack("!HH", body[:4])
    return Whole(
        source=End(source, ports[0]),
        destination=End(destination, ports[1]),
        protocol=protocol,
        flags=body[13] if protocol == TCP else SYN,
        payload=body[20 if protocol == TCP else 8 :],
        ttl=ttl,
        macs=macs,
    )


def _is_right(source: str, destination: str, protocol: int, body: bytes) -> bool:
    return transport_sum(End(source, 0), End(destination, 0), protocol, body) in (0, 0xFFFF)


def _split(packet: bytes) -> tuple[str, str, int, bytes, int]:
    if packet[0] >> 4 == 6:
        ends = (packet[8:24], packet[24:40])
        protocol, ttl, body = packet[6], packet[7], packet[40:]
    else:
        assert checksum(packet[:20]) == 0, "checksum of IPv4"
        ends = (packet[12:16], packet[16:20])
        protocol, ttl, body = packet[9], packet[8], packet[20:]
    source, destination = (str(ip_address(end)) for end in ends)
    return source, destination, protocol, body, ttl
