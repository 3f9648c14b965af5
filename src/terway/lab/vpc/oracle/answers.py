"""The frames that the virtual router itself sends, byte for byte."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from terway.lab.vpc.contract import ROUTER_MAC, pack_mac
from terway.lab.vpc.oracle.packet import ICMP, ICMPV6, TCP, Packet
from terway.lab.vpc.state import Port
from terway.model.address import Family, IPAddress

_ETHERTYPE = {Family.V4: 0x0800, Family.V6: 0x86DD}
_QUOTED = {Family.V4: 80, Family.V6: 120}  # bytes of the packet that "too big" quotes


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    words: tuple[int, ...] = struct.unpack(f"!{len(padded) // 2}H", padded)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(port: Port, ethertype: int) -> bytes:
    """Return the header of a frame from the router to the ENI."""
    return pack_mac(port.mac) + pack_mac(ROUTER_MAC) + ethertype.to_bytes(2, "big")


def arp_reply(port: Port, request: bytes) -> bytes:
    """Return the answer to an ARP request, as long as the request."""
    sender, sender_ip, target_ip = request[22:28], request[28:32], request[38:42]
    fixed = request[14:20] + b"\0\x02"
    body = fixed + pack_mac(ROUTER_MAC) + target_ip + sender + sender_ip
    return ethernet(port, 0x0806) + body + request[42:]


def _icmpv6(source: IPAddress, destination: IPAddress, message: bytes) -> bytes:
    pseudo = source.packed + destination.packed + struct.pack("!II", len(message), ICMPV6)
    return message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]


def advertisement(port: Port, solicitation: Packet, frame: bytes) -> bytes:
    """Return the answer to a neighbour solicitation: the router has the address."""
    target = IPv6Address(frame[62:78])
    message = struct.pack("!BBHI", 136, 0, 0, 0xE0000000) + target.packed + b"\x02\x01"
    message = _icmpv6(target, solicitation.source, message + pack_mac(ROUTER_MAC))
    header = frame[14:18] + struct.pack("!HBB", len(message), ICMPV6, 255)
    addresses = target.packed + solicitation.source.packed
    return ethernet(port, _ETHERTYPE[Family.V6]) + header + addresses + message


def echo_reply(port: Port, request: Packet, frame: bytes) -> bytes:
    """Return the answer to an echo request, with everything else of the request kept."""
    v4 = request.family is Family.V4
    start, size = (26, 4) if v4 else (22, 16)
    type_at = 14 + request.transport
    before, after = (0x0800, 0x0000) if v4 else (0x8000, 0x8100)
    found = bytearray(ethernet(port, _ETHERTYPE[request.family]) + frame[14:])
    found[start : start + size], found[start + size : start + 2 * size] = (
        request.destination.packed,
        request.source.packed,
    )
    old = int.from_bytes(frame[type_at + 2 : type_at + 4], "big")
    found[type_at] = after >> 8
    found[type_at + 2 : type_at + 4] = _updated(old, before, after).to_bytes(2, "big")
    return bytes(found)


def _updated(old: int, before: int, after: int) -> int:
    """Return the checksum after one word has changed (RFC 1624, equation 3)."""
    total = (old ^ 0xFFFF) + (before ^ 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def too_big(port: Port, gateway: IPAddress, packet: Packet, data: bytes, mtu: int) -> bytes:
    """Return "fragmentation needed" or "packet too big", quoting the start of `data`."""
    quote = data[: _QUOTED[packet.family]]
    if packet.family is Family.V6:
        message = _icmpv6(gateway, packet.source, struct.pack("!BBHI", 2, 0, 0, mtu) + quote)
        header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 64)
        header += gateway.packed + packet.source.packed
        return ethernet(port, _ETHERTYPE[Family.V6]) + header + message
    message = struct.pack("!BBHI", 3, 4, 0, mtu) + quote
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, ICMP, 0)
    header += gateway.packed + packet.source.packed
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return ethernet(port, _ETHERTYPE[Family.V4]) + header + message


def may_reset(packet: Packet) -> bool:
    """Return whether a packet of a cut connection is answered: with an ACK, and plain."""
    plain = 20 if packet.family is Family.V4 else 40
    is_whole = not packet.is_fragment and packet.transport == plain
    return is_whole and packet.data[packet.transport + 13] & 0x14 == 0x10


def reset(port: Port, packet: Packet) -> bytes:
    """Return the reset that a load balancer sends for a connection that is cut."""
    ports = struct.pack("!HH", packet.destination_port, packet.source_port)
    expected = packet.data[packet.transport + 8 : packet.transport + 12]
    segment = ports + expected + bytes(4) + struct.pack("!BBHHH", 0x50, 0x04, 0, 0, 0)
    ends = packet.destination.packed + packet.source.packed
    summed = checksum(ends + struct.pack("!II", len(segment), TCP) + segment)
    segment = segment[:16] + summed.to_bytes(2, "big") + segment[18:]
    if packet.family is Family.V6:
        header = struct.pack("!IHBB", 6 << 28, len(segment), TCP, 64) + ends
        return ethernet(port, _ETHERTYPE[Family.V6]) + header + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, TCP, 0) + ends
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return ethernet(port, _ETHERTYPE[Family.V4]) + header + segment
