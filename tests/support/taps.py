"""Which frames pass a link? Sockets that hear all of them, and one that writes any."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from terway.lab.world.waiting import PATIENCE_S
from terway.linux.netns import entered, open_netns

_EVERY = 0x0003  # ETH_P_ALL
_OUTGOING = socket.PACKET_OUTGOING
_LONGEST = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A link in a network namespace; `is_way_out`: only what leaves by it counts."""

    netns_path: str
    link: str
    is_way_out: bool = False


@contextmanager
def tapped(places: list[Place]) -> Iterator[dict[Place, socket.socket]]:
    """Hear all frames of these links for the block."""
    with ExitStack() as stack:
        yield {one: stack.enter_context(open_tap(one)) for one in places}


def open_tap(place: Place) -> socket.socket:
    """Return a socket that hears and writes the frames of a link."""
    with open_netns(place.netns_path) as opened, entered(opened.fd):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY))
    made.bind((place.link, _EVERY))
    made.setblocking(False)
    return made


def write_frame(tap: socket.socket, frame: bytes) -> None:
    """Send a frame as it is; a program that drops looks like a full queue."""
    try:
        tap.send(frame)
    except OSError as error:
        if error.errno not in (errno.ENOBUFS, errno.EPERM):
            raise


async def hear(tap: socket.socket, mark: bytes) -> None:
    """Wait until a frame with this in it has passed; TimeoutError if none does."""
    async with asyncio.timeout(PATIENCE_S):
        while mark not in await asyncio.get_running_loop().sock_recv(tap, _LONGEST):
            pass


def passed(place: Place, tap: socket.socket, mark: bytes) -> list[bytes]:
    """Return the frames with this in it that have passed so far, without waiting."""
    found: list[bytes] = []
    while True:
        try:
            frame, source = tap.recvfrom(_LONGEST)
        except BlockingIOError:
            return found
        is_outgoing = source[2] == _OUTGOING
        if mark in frame and is_outgoing is place.is_way_out:
            found.append(frame)
