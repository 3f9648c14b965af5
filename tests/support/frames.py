"""Frames for the fabric's tests, made of parts that a test may spoil one at a time."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from terway.lab.vpc.contract import ROUTER_MAC, pack_mac
from terway.lab.vpc.oracle.answers import checksum
from terway.lab.vpc.state import Port
from terway.model.address import IPAddress

BROADCAST = b"\xff" * 6
ROUTER = pack_mac(ROUTER_MAC)
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04


def frame(port: Port, ethertype: int, payload: bytes, *, destination: bytes = ROUTER) -> bytes:
    return destination + pack_mac(port.mac) + ethertype.to_bytes(2, "big") + payload


def arp(
    port: Port, sender: str | IPv4Address, target: str | IPv4Address, *, operation: int = 1
) -> bytes:
    addresses = (IPv4Address(sender).packed, IPv4Address(target).packed)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body += pack_mac(port.mac) + addresses[0] + bytes(6) + addresses[1]
    return frame(port, 0x0806, body, destination=BROADCAST)


def ipv4(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    fragment: int = 0,
    identifier: int = 7,
) -> bytes:
    """An IPv4 packet; `fragment` is the whole field: flags and offset in units of 8 bytes."""
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBBH",
        0x40 | words,
        0,
        words * 4 + len(payload),
        identifier,
        fragment,
        64,
        protocol,
        0,
    )
    head += source.packed + destination.packed + options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def ipv6(
    source: IPv6Address,
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return head + source.packed + destination.packed + payload


def ip(source: IPAddress, destination: IPAddress, protocol: int, payload: bytes) -> bytes:
    """A packet of whichever family the addresses have; ICMP of a family is written as 1."""
    if isinstance(source, IPv4Address):
        assert isinstance(destination, IPv4Address)
        return ipv4(source, destination, protocol, payload)
    assert isinstance(destination, IPv6Address)
    return ipv6(source, destination, 58 if protocol == 1 else protocol, payload)


def ip_frame(port: Port, packet: bytes, *, destination: bytes = ROUTER) -> bytes:
    ethertype = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return frame(port, ethertype, packet, destination=destination)


def tcp(source: int, destination: int, *, flags: int = SYN, payload: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 1, 0, 0x50, flags, 65535, 0, 0) + payload


def udp(source: int, destination: int, payload: bytes = b"hello") -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def echo(identifier: int, *, v6: bool = False, reply: bool = False, payload: bytes = b"") -> bytes:
    kind = (129 if reply else 128) if v6 else (0 if reply else 8)
    message = struct.pack("!BBHHH", kind, 0, 0, identifier, 1) + payload
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


def icmp_error(quoted: bytes, *, kind: int = 3, code: int = 4) -> bytes:
    return struct.pack("!BBHI", kind, code, 0, 0) + quoted


def solicitation(
    port: Port, source: IPv6Address, target: IPv6Address, *, hop_limit: int = 255
) -> bytes:
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(target) & 0xFFFFFF)
    message = struct.pack("!BBHI", 135, 0, 0, 0) + target.packed
    message += b"\x01\x01" + pack_mac(port.mac)
    packet = ipv6(source, group, 58, message, hop_limit=hop_limit)
    return ip_frame(port, packet, destination=b"\x33\x33" + group.packed[12:])


def extension(following: int, *, length: int = 0) -> bytes:
    """An IPv6 extension header of 8 bytes and `length` times 8 more."""
    return bytes((following, length)) + bytes(6 + 8 * length)


def fragment_header(following: int, offset: int, *, more: bool, identifier: int = 9) -> bytes:
    """An IPv6 fragment header; `offset` in bytes."""
    return struct.pack("!BBHI", following, 0, offset | int(more), identifier)
