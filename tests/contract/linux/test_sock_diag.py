"""Sockets whose peer has gone are told: real sockets of a namespace of their own."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from ipaddress import ip_address

import pytest

from terway.linux.sock_diag import ConnectedSocket, end_sockets
from tests.support.netns import scratch_netns

pytestmark = pytest.mark.root
SO_COOKIE = 57  # include/uapi/asm-generic/socket.h


def cookie_of(one: socket.socket) -> int:
    (number,) = struct.unpack("=Q", one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
    return int(number)


@pytest.mark.parametrize(
    ("kind", "family", "named", "host"),
    [
        (socket.SOCK_STREAM, socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.SOCK_STREAM, socket.AF_INET6, "::1", "::1"),
        (socket.SOCK_STREAM, socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
        (socket.SOCK_DGRAM, socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.SOCK_DGRAM, socket.AF_INET6, "::1", "::1"),
    ],
)
def test_a_connected_socket_is_ended_and_no_other(kind, family, named, host):
    server_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        scratch_netns("diag") as netns,
        netns.entered(),
        closing(socket.socket(server_family, kind)) as server,
        closing(socket.socket(family, kind)) as victim,
        closing(socket.socket(family, kind)) as other,
    ):
        server.bind((host, 8080))
        if kind == socket.SOCK_STREAM:
            server.listen()
        for client in (victim, other):
            client.settimeout(20)
            client.connect((named, 8080))
        wanted = ConnectedSocket(
            cookie=cookie_of(victim),
            protocol=socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP,
            address=ip_address(host),
            port=8080,
        )

        assert end_sockets((wanted,)) == 1

        with pytest.raises(ConnectionAbortedError):
            victim.recv(1)
        assert other.send(b"still here")


def test_a_socket_that_went_by_itself_is_no_error():
    gone = ConnectedSocket(
        cookie=1, protocol=socket.IPPROTO_TCP, address=ip_address("127.0.0.1"), port=8080
    )
    with scratch_netns("diag") as netns, netns.entered():
        assert end_sockets((gone,)) == 0
        assert end_sockets(()) == 0
