"""What the first bytes of a packet say, and what they do not."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from terway.linux.ip_header import SCTP, TCP, UDP, parse_ip_header

HERE4, THERE4 = ip_address("10.0.0.1"), ip_address("10.0.0.2")
HERE6, THERE6 = ip_address("fd00::1"), ip_address("fd00::2")
PORTS = struct.pack("!HH", 40000, 443) + bytes(16)


def v4(protocol: int, body: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, 0, 0, fragment, 64, protocol, 0)
    return head + HERE4.packed + THERE4.packed + options + body


def v6(kind: int, body: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), kind, 64) + HERE6.packed + THERE6.packed + body


@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP])
def test_ports_are_found_behind_options_and_extension_headers(protocol):
    extended = struct.pack("!BB6x", 60, 0) + struct.pack("!BB14x", protocol, 1) + PORTS
    for packet in (v4(protocol, PORTS, options=bytes(8)), v6(protocol, PORTS), v6(0, extended)):
        header = parse_ip_header(packet)
        assert header is not None
        assert header.protocol == protocol
        assert (header.source_port, header.destination_port) == (40000, 443)
        assert header.source in (HERE4, HERE6)
        assert header.destination in (THERE4, THERE6)


def test_a_later_fragment_has_no_ports():
    second = struct.pack("!BBHI", UDP, 0, 185 << 3, 1) + PORTS
    first = struct.pack("!BBHI", UDP, 0, 1, 1) + PORTS
    for packet in (v4(UDP, PORTS, fragment=185), v6(44, second)):
        header = parse_ip_header(packet)
        assert header is not None
        assert (header.protocol, header.destination_port) == (UDP, 0)
    header = parse_ip_header(v6(44, first))
    assert header is not None
    assert header.destination_port == 443


def test_icmp_has_a_type_and_no_ports():
    for packet, kind in ((v4(1, b"\x08\x00"), 8), (v6(58, b"\x80\x00"), 128)):
        header = parse_ip_header(packet)
        assert header is not None
        assert (header.icmp_type, header.destination_port) == (kind, 0)


@pytest.mark.parametrize("packet", [b"", b"\x45", bytes(64), v4(TCP, b"")[:19], v6(TCP, b"")[:39]])
def test_what_is_no_ip_header_is_told_apart(packet):
    assert parse_ip_header(packet) is None


@pytest.mark.parametrize("length", range(20, 44))
def test_a_packet_that_is_cut_off_is_read_as_far_as_it_goes(length):
    header = parse_ip_header(v4(TCP, PORTS)[:length])
    assert header is not None
    assert header.destination_port == (443 if length >= 24 else 0)
