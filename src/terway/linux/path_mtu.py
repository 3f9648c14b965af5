"""How large a packet gets through to a gateway? Asked with ICMP echoes that must not be split."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.uplink import Uplink, read_uplink
from terway.model.address import Family

_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3  # ip(7): set DF, heed no path MTU
_IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_PROBE = 23, 3
_ECHO = {Family.V4: (8, 0), Family.V6: (128, 129)}  # request and reply
_HEADERS = {Family.V4: 28, Family.V6: 48}  # of IP and ICMP
_SMALLEST = {Family.V4: 576, Family.V6: 1280}
_WAIT_S = 0.4


def probe_gateways() -> dict[str, int]:
    """Return by family what got through to the node's gateway; 0 where nothing came back.

    Families without a gateway are left out. Blocking, at most some seconds.
    """
    found: dict[str, int] = {}
    for family in Family:
        uplink = read_uplink(family)
        if uplink is not None and uplink.gateway is not None:
            found[f"IPv{family.value} by {uplink.link}"] = largest(family, uplink)
    return found


def read_path_mtu(family: Family) -> int | None:
    """Return what gets through to the node's gateway of `family`, None without a gateway.

    Where the gateway answers nothing, or CAP_NET_RAW is missing, the link's own MTU. Blocking,
    some seconds where less gets through than the link says.
    """
    uplink = read_uplink(family)
    if uplink is None or uplink.gateway is None:
        return None
    with open_route_socket() as sock:
        shown = sock.first(link.by_name(uplink.link))
    linked = shown.mtu_bytes if shown is not None else None
    try:
        return largest(family, uplink) or linked
    except PermissionError:
        return linked


def largest(family: Family, uplink: Uplink) -> int:
    """Return the largest packet in bytes that the gateway answers, up to the link's MTU."""
    with open_route_socket() as sock:
        shown = sock.first(link.by_name(uplink.link))
    most = shown.mtu_bytes if shown is not None else 1500
    low, high = _SMALLEST[family], most
    if not _answers(family, uplink, low):
        return 0
    if _answers(family, uplink, high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _answers(family, uplink, middle) else (low, middle)
    return low


def _answers(family: Family, uplink: Uplink, size: int) -> bool:
    kind = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if family is Family.V4 else socket.IPPROTO_ICMPV6
    with socket.socket(kind, socket.SOCK_RAW, protocol) as sock:
        level, option, value = (
            (socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
            if family is Family.V4
            else (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_PROBE)
        )
        sock.setsockopt(level, option, value)
        sock.settimeout(_WAIT_S)
        number = os.getpid() & 0xFFFF
        scope = (0, socket.if_nametoindex(uplink.link)) if family is Family.V6 else ()
        try:
            sock.sendto(echo(family, number, size), (str(uplink.gateway), 0, *scope))
            return any(_is_reply(family, data, number) for data in _received(sock))
        except OSError:
            return False  # EMSGSIZE: larger than the link


def _received(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(65536)
        except TimeoutError:
            return


def echo(family: Family, number: int, size: int) -> bytes:
    """Return an ICMP echo request that makes an IP packet of `size` bytes."""
    request, _ = _ECHO[family]
    payload = bytes(max(0, size - _HEADERS[family]))
    head = struct.pack("!BBHHH", request, 0, 0, number, 1)
    total = checksum(head + payload) if family is Family.V4 else 0  # IPv6: the kernel's task
    return struct.pack("!BBHHH", request, 0, total, number, 1) + payload


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _is_reply(family: Family, data: bytes, number: int) -> bool:
    body = data[(data[0] & 0x0F) * 4 :] if family is Family.V4 else data
    if len(body) < 8:
        return False
    kind, _code, _sum, found, _sequence = struct.unpack("!BBHHH", body[:8])
    return kind in _ECHO[family][1:] and found == number
