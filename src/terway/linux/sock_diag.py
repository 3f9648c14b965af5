"""Which sockets talk to an address, and how to end them? Blocking; in the thread's own namespace.

A process whose peer has gone for good is told so (ECONNABORTED) instead of waiting for an answer.
Source: sock_diag(7); include/uapi/linux/inet_diag.h; SOCK_DESTROY: Linux 4.5,
CONFIG_INET_DIAG_DESTROY.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from terway.linux.netlink.codec import Query, Request
from terway.linux.netlink.socket import NetlinkSocket, connect, send_all
from terway.model.address import IPAddress
from terway.model.errors import VpcError

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_DESTROY = 21
_ALL_STATES = 0xFFFFFFFF
_ASK = struct.Struct("=BBBxI")  # family, protocol, extensions, states; the socket's name follows
_ANSWER = struct.Struct("=BBBB")  # family, state, timer, retransmits; then the same name
_NAME = struct.Struct("=2s2s16s16sI8s")  # ports, addresses, device, cookie
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address that a socket of IPv6 has

_LACKING = "EOPNOTSUPP"  # the kernel was built without what ends sockets


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedSocket:
    """A socket by its number in the kernel, and whom it is connected to."""

    cookie: int
    protocol: int
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    family: int
    protocol: int
    name: bytes


def end_sockets(wanted: Collection[ConnectedSocket]) -> int:
    """End those of `wanted` that are still connected as they say; return how many.

    Asks the kernel for its sockets once for each family and protocol. Sockets whose kind the
    kernel cannot list or end are left: their processes find out by themselves.
    """
    if not wanted:
        return 0
    by_peer = {(one.protocol, one.port, one.cookie): one.address.packed for one in wanted}
    with NetlinkSocket(connect(_NETLINK_SOCK_DIAG)) as sock:
        found = [
            one
            for protocol in sorted({one.protocol for one in wanted})
            for family in (socket.AF_INET, socket.AF_INET6)
            for one in sock.query(_connected(family, protocol, by_peer))
        ]
        return len(found) if _is_done(sock, found) else 0


def _is_done(sock: NetlinkSocket, found: list[_Found]) -> bool:
    try:
        send_all(sock, map(_destroy, found))
    except VpcError as error:
        if error.code == _LACKING:
            return False
        raise
    return True


def _connected(
    family: int, protocol: int, by_peer: dict[tuple[int, int, int], bytes]
) -> Query[_Found]:
    def decode(body: bytes) -> _Found | None:
        name = body[_ANSWER.size : _ANSWER.size + _NAME.size]
        _source, port, _from, address, _device, cookie = _NAME.unpack(name)
        key = (protocol, int.from_bytes(port, "big"), int.from_bytes(cookie, "little"))
        is_wanted = by_peer.get(key, b"") in tuple(_spellings(address))
        return _Found(family=family, protocol=protocol, name=name) if is_wanted else None

    body = _ASK.pack(family, protocol, 0, _ALL_STATES) + bytes(_NAME.size)
    what = f"list of sockets of protocol {protocol}"
    needles = tuple(set(by_peer.values()))
    return Query(type=_BY_FAMILY, body=body, decode=decode, what=what, needles=needles)


def _spellings(address: bytes) -> Iterator[bytes]:
    """Yield what 16 bytes of an answer may stand for."""
    yield address
    yield address[:4]
    if address.startswith(_MAPPED):
        yield address[12:]


def _destroy(found: _Found) -> Request:
    return Request(
        type=_DESTROY,
        flags=0,
        body=_ASK.pack(found.family, found.protocol, 0, _ALL_STATES) + found.name,
        what="end a socket whose peer has gone",
        tolerated=frozenset({errno.ENOENT}),  # it ended by itself
    )
