"""Which sockets of which network namespaces do the probes of a state use?

A socket belongs to the namespace it was made in, wherever its process is: so one process asks and
answers for all pods, and a pod's container does nothing.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from terway.lab.policy import sctp
from terway.lab.policy.echo import protocol_of
from terway.linux.netns import entered
from terway.model.address import IPAddress

S = TypeVar("S")

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, for 0 s: nothing stays in TIME_WAIT
_IP_PKTINFO = 8  # include/uapi/linux/in.h
_BACKLOG = 512
PEEK_BYTES = 2048


class Namespaces:
    """Network namespaces by path, open as long as this is."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}

    def make(self, netns: str, make: Callable[[], S]) -> S:
        """Return what `make` makes inside a namespace. OSError when it cannot be made."""
        if netns not in self._fds:
            self._fds[netns] = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        with entered(self._fds[netns]):
            return make()

    def close(self) -> None:
        """Close all."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def tcp_listener(address: IPAddress, port: int) -> socket.socket:
    """Return a listening socket."""
    return _bound(socket.SOCK_STREAM, address, port, lambda sock: sock.listen(_BACKLOG))


def udp_socket(address: IPAddress, port: int) -> socket.socket:
    """Return a socket that receives on one address and port, and answers from it."""
    return _bound(socket.SOCK_DGRAM, address, port, lambda sock: None)


def client_socket(kind: int, source: IPAddress) -> socket.socket:
    """Return a socket that connects from `source`."""
    return _bound(kind, source, 0, lambda sock: None)


def echo_socket(source: IPAddress) -> socket.socket:
    """Return a raw socket that asks for ICMP echoes from `source`, and receives the answers."""
    return _bound(socket.SOCK_RAW, source, 0, lambda sock: None, protocol_of(source.version))


def sctp_socket(version: int) -> socket.socket:
    """Return a socket for all SCTP packets of a namespace, in one family."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_RAW, sctp.PROTOCOL)
    sock.setblocking(False)
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return sock


def send_from(sock: socket.socket, data: bytes, source: IPAddress, destination: IPAddress) -> None:
    """Send a packet of a raw socket with the given source address. What cannot be sent is lost."""
    if source.version == 4:
        info = struct.pack("@i4s4s", 0, source.packed, bytes(4))
        ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
    else:
        info = struct.pack("@16sI", source.packed, 0)
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    with suppress(OSError):
        sock.sendmsg([data], ancillary, 0, (str(destination), 0))


def _bound(
    kind: int,
    address: IPAddress,
    port: int,
    then: Callable[[socket.socket], None],
    protocol: int = 0,
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        sock.bind((str(address), port))
        then(sock)
    except BaseException:
        sock.close()
        raise
    return sock
