"""How does the lab's one process listen inside the VPC? With sockets of the services' namespace.

A socket belongs to the network namespace it was made in, wherever its process is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from ipaddress import ip_address

from terway.linux.netns import entered, open_netns
from terway.model.address import IPAddress


async def listen_in(netns_path: str, address: IPAddress, port: int) -> socket.socket:
    """Return a listening TCP socket of another network namespace."""
    # In a thread: the event loop's own must never be found in a foreign namespace.
    return await _made(asyncio.to_thread(_listen, netns_path, str(address), port))


async def socket_in(
    netns_path: str, host: str, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """Return a socket of another network namespace, to connect it to the address `host`."""
    return await _made(asyncio.to_thread(_make, netns_path, host, kind))


async def connect_in(
    netns_path: str, host: str, port: int, *, source: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a TCP connection that begins in another network namespace, at `source` if given."""
    sock = await socket_in(netns_path, host)
    try:
        if source:
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return await asyncio.open_connection(sock=sock)


async def _made(work: Coroutine[None, None, socket.socket]) -> socket.socket:
    making = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:  # the thread goes on, and nobody would close what it made
        making.add_done_callback(_close_made)
        raise


def _close_made(making: asyncio.Future[socket.socket]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()


def _listen(netns_path: str, address: str, port: int) -> socket.socket:
    family = _family_of(address)
    with open_netns(netns_path) as opened, entered(opened.fd):
        return socket.create_server((address, port), family=family, backlog=512)


def _make(netns_path: str, host: str, kind: socket.SocketKind) -> socket.socket:
    with open_netns(netns_path) as opened, entered(opened.fd):
        sock = socket.socket(_family_of(host), kind)
    sock.setblocking(False)
    return sock


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
