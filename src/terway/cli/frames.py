"""What is a captured packet: whose, what, and how is it told from another; and pcap as bytes.

Source of the file format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import IPAddress

SNAP_BYTES = 262_144
_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1
_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_WITH_PORTS = (6, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame as one end of a hop saw it. `at_ns` is nanoseconds since the epoch."""

    at_ns: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What is in a frame, as far as a filter asks."""

    source: IPAddress
    destination: IPAddress
    protocol: str
    ports: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.ports is None:
            return f"{self.protocol} {self.source} -> {self.destination}"
        first, second = self.ports
        return f"{self.protocol} {self.source}.{first} -> {self.destination}.{second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which frames are wanted; what is None is not asked about."""

    host: IPAddress | None = None
    port: int | None = None
    protocol: str | None = None

    def accepts(self, frame: Frame) -> bool:
        """Return whether a frame is wanted. Without any condition, every frame is."""
        if self == Filter():
            return True
        flow = flow_of(frame.data)
        return (
            flow is not None
            and self.host in (None, flow.source, flow.destination)
            and self.protocol in (None, flow.protocol)
            and (self.port is None or (flow.ports is not None and self.port in flow.ports))
        )


def pcap(frames: Iterable[Frame]) -> bytes:
    """Return a pcap file with times in nanoseconds."""
    parts = [_HEADER.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAP_BYTES, _ETHERNET)]
    for one in frames:
        seconds, rest = divmod(one.at_ns, 1_000_000_000)
        parts += (_RECORD.pack(seconds, rest, len(one.data), len(one.data)), one.data)
    return b"".join(parts)


def flow_of(data: bytes) -> Flow | None:
    """Return the flow of an Ethernet frame, None when it is not whole IP."""
    packet = packet_of(data)
    if not packet:
        return None
    if packet[0] >> 4 == 4:
        length, protocol = (packet[0] & 0x0F) * 4, packet[9]
        ends: tuple[IPAddress, IPAddress] = (
            IPv4Address(packet[12:16]),
            IPv4Address(packet[16:20]),
        )
        is_later_fragment = bool(struct.unpack_from("!H", packet, 6)[0] & 0x1FFF)
    else:
        length, protocol = 40, packet[6]
        ends = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        is_later_fragment = False
    ports: tuple[int, int] | None = None
    if protocol in _WITH_PORTS and not is_later_fragment and len(packet) >= length + 4:
        first, second = struct.unpack_from("!HH", packet, length)
        ports = (first, second)
    return Flow(
        source=ends[0],
        destination=ends[1],
        protocol=_PROTOCOLS.get(protocol, str(protocol)),
        ports=ports,
    )


def packet_of(data: bytes) -> bytes:
    """Return the IP packet in an Ethernet frame, without its padding; empty when there is none."""
    (kind,) = struct.unpack_from("!H", data, 12) if len(data) >= 14 else (0,)
    body = data[14:]
    if kind == 0x0800 and len(body) >= 20:
        return body[: struct.unpack_from("!H", body, 2)[0]]
    if kind == 0x86DD and len(body) >= 40:
        return body[: 40 + int(struct.unpack_from("!H", body, 4)[0])]
    return b""


def same_packet(data: bytes) -> bytes:
    """Return what of a packet no router changes: all but TTL or hop limit, checksum and marks.

    The transport's checksum is left out, too: the first end sees it before the hardware's offload
    has written it.
    """
    packet = bytearray(packet_of(data))
    if not packet:
        return b""
    if packet[0] >> 4 == 4:
        length, protocol = (packet[0] & 0x0F) * 4, packet[9]
        packet[1] = packet[8] = packet[10] = packet[11] = 0
    else:
        length, protocol = 40, packet[6]
        packet[0:4], packet[7] = b"\x60\0\0\0", 0
    where = {6: 16, 17: 6, 1: 2, 58: 2}.get(protocol)
    if where is not None and len(packet) >= length + where + 2:
        packet[length + where : length + where + 2] = b"\0\0"
    return bytes(packet)
