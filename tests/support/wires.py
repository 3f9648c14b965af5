"""Does this packet arrive? Sockets in the namespaces of both ends, and no waiting for nothing.

That a packet does not arrive is known by the next one: it goes the same way to a port that is
open to everybody (the fence), and whatever was sent before it has arrived by then, or never will.
For that all is sent from one core: what a core sends is worked off in order.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from terway.lab.vpc.oracle.answers import checksum
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.netns import entered, open_netns
from terway.model.address import IPAddress

FENCE = 7009  # the port that every policy of a test leaves open, UDP
SYN, RST, ACK = 0x02, 0x04, 0x10
_AT_ONCE = 65535  # bytes: any datagram

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where sockets are made, and by which address they are reached."""

    netns_path: str
    address: IPAddress

    @property
    def domain(self) -> socket.AddressFamily:
        """Return the socket domain of its address."""
        return socket.AF_INET if self.address.version == 4 else socket.AF_INET6


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep the calling thread on one of the cores that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Wires:
    """Sockets of any namespace, closed on leaving."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._fences: dict[End, socket.socket] = {}

    def __enter__(self) -> Wires:
        self._stack.enter_context(on_one_core())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def open(self, end: End, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """Return a socket of the end's namespace, neither bound nor connected."""
        made = await asyncio.to_thread(_make, end, kind, protocol)
        return self._stack.enter_context(made)

    async def udp(self, end: End, port: int = 0) -> socket.socket:
        """Return a UDP socket with the end's address."""
        made = await self.open(end, socket.SOCK_DGRAM)
        made.bind((str(end.address), port))
        return made

    async def tcp_listener(self, end: End, port: int) -> socket.socket:
        """Return a socket that takes connections."""
        made = await self.open(end, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(end.address), port))
        made.listen(64)
        return made

    async def accept(self, listener: socket.socket) -> socket.socket:
        """Return the next connection that somebody makes."""
        async with asyncio.timeout(PATIENCE_S):
            made, _ = await asyncio.get_running_loop().sock_accept(listener)
        made.setblocking(False)
        return self._stack.enter_context(made)

    async def connect(self, source: End, target: End, port: int) -> socket.socket:
        """Return a TCP connection from one end to a port; TimeoutError when nobody answers."""
        made = await self.open(source, socket.SOCK_STREAM)
        made.bind((str(source.address), 0))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_connect(made, (str(target.address), port))
        return made

    async def raw(self, end: End, protocol: int) -> socket.socket:
        """Return a socket that sends, and hears, whole messages of a protocol.

        It hears what the namespace's packet filter lets in; ICMP of IPv6 is meant by 1, too.
        """
        number = 58 if protocol == 1 and end.address.version == 6 else protocol
        return await self.open(end, socket.SOCK_RAW, number)

    async def fence(self, source: End, target: End) -> None:
        """Wait until all that `source` has sent to `target` has arrived, or never will."""
        token = f"fence {next(_numbers)}".encode()
        sender, receiver = await self._fence(source), await self._fence(target)
        sender.sendto(token, (str(target.address), FENCE))
        await hears(receiver, token)

    def forget(self, end: End) -> None:
        """Close the fence of an end that is about to go, or to be somebody else's."""
        if end in self._fences:
            self._fences.pop(end).close()

    async def _fence(self, end: End) -> socket.socket:
        if end not in self._fences:
            self._fences[end] = await self.udp(end, FENCE)
        return self._fences[end]

    async def passes(self, source: End, target: End, port: int) -> bool:
        """Return whether a datagram to a port arrives. Both directions of the fence are open."""
        with self.borrowed(await self.udp(target, port)) as receiver:
            token = f"probe {next(_numbers)}".encode()
            with self.borrowed(await self.udp(source)) as sender:
                try_to_send(sender, token, target, port)
                await self.fence(source, target)
            return token in heard(receiver)

    @contextmanager
    def borrowed(self, made: socket.socket) -> Iterator[socket.socket]:
        """Close a socket at the end of the block already."""
        with made:
            yield made


def try_to_send(sender: socket.socket, data: bytes, target: End, port: int = 0) -> None:
    """Send, though the sender's own filter may forbid it: that tells the sender, and is as good.

    nftables refuses (EPERM); a program that drops looks like a full queue to the stack (ENOBUFS).
    """
    try:
        sender.sendto(data, (str(target.address), port))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOBUFS):
            raise


def heard(receiver: socket.socket) -> list[bytes]:
    """Return what has arrived, without waiting."""
    found: list[bytes] = []
    while True:
        try:
            data = receiver.recv(_AT_ONCE)
        except BlockingIOError:
            return found
        if not data:  # a stream's end
            return found
        found.append(data)


async def hears(receiver: socket.socket, token: bytes) -> None:
    """Wait until exactly this has arrived; TimeoutError if it does not."""
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.get_running_loop().sock_recv(receiver, _AT_ONCE) != token:
            pass


def tcp_segment(
    source: End, target: End, ports: tuple[int, int], *, flags: int, payload: bytes = b""
) -> bytes:
    """Return a TCP segment with a right checksum, that may belong to no connection."""
    head = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 0x50, flags, 65535, 0, 0)
    length = len(head) + len(payload)
    pseudo = source.address.packed + target.address.packed + struct.pack("!II", length, 6)
    right = checksum(pseudo + head + payload)
    return head[:16] + right.to_bytes(2, "big") + head[18:] + payload


def udp_head(ports: tuple[int, int], size: int) -> bytes:
    """Return the head of a datagram of `size` bytes, to be quoted in an error."""
    return struct.pack("!HHHH", *ports, 8 + size, 0)


def udp_datagram(source: End, target: End, ports: tuple[int, int], payload: bytes) -> bytes:
    """Return a datagram with a right checksum."""
    head = udp_head(ports, len(payload))
    pseudo = source.address.packed + target.address.packed
    pseudo += struct.pack("!II", len(head) + len(payload), 17)
    return head[:6] + checksum(pseudo + head + payload).to_bytes(2, "big") + payload


def ip_head(source: End, target: End, protocol: int, size: int) -> bytes:
    """Return the head of a packet with `size` bytes in it, to be quoted in an error."""
    packed = source.address.packed + target.address.packed
    if isinstance(source.address, IPv4Address):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 7, 0x4000, 64, protocol, 0) + packed
        return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return struct.pack("!IHBB", 6 << 28, size, protocol, 64) + packed


def icmp_message(source: End, target: End, kind: tuple[int, int], rest: int, body: bytes) -> bytes:
    """Return an ICMP message of (type, code) with its checksum; `rest` are bytes 4 to 8."""
    message = struct.pack("!BBHI", *kind, 0, rest) + body
    pseudo = b""
    if source.address.version == 6:
        packed = source.address.packed + target.address.packed
        pseudo = packed + struct.pack("!II", len(message), 58)
    return message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]


def _make(end: End, kind: socket.SocketKind, protocol: int) -> socket.socket:
    with open_netns(end.netns_path) as opened, entered(opened.fd):
        made = socket.socket(end.domain, kind, protocol)
    made.setblocking(False)
    return made
