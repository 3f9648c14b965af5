"""What changes in the kernel's network state, as it changes: the netlink notifications.

For loops that are level-triggered: an event says "look again", and carries little else.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from terway.linux.netlink import address, link, neighbour, route, rule
from terway.linux.netlink.codec import messages
from terway.linux.netlink.errors import translate_os_error
from terway.linux.netlink.socket import NETLINK_ROUTE
from terway.model.network import Link

_RECEIVE_BYTES = 64 * 1024
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1


class Watched(Enum):
    """A kind of kernel object; the value lists its multicast groups (RTNLGRP_*).

    Of routes, only those that were added by hand are told, as ours are.
    """

    LINKS = (1,)
    NEIGHBOURS = (3,)
    ADDRESSES = (5, 9)
    ROUTES = (7, 11)
    RULES = (8, 19)


_KIND_OF = {
    link.RTM_NEWLINK: Watched.LINKS,
    link.RTM_DELLINK: Watched.LINKS,
    neighbour.RTM_NEWNEIGH: Watched.NEIGHBOURS,
    neighbour.RTM_DELNEIGH: Watched.NEIGHBOURS,
    address.RTM_NEWADDR: Watched.ADDRESSES,
    address.RTM_DELADDR: Watched.ADDRESSES,
    route.RTM_NEWROUTE: Watched.ROUTES,
    route.RTM_DELROUTE: Watched.ROUTES,
    rule.RTM_NEWRULE: Watched.RULES,
    rule.RTM_DELRULE: Watched.RULES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something of a kind came, changed or went. `link` is told for links only."""

    kind: Watched
    is_gone: bool = False
    link: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost:
    """The kernel had more events than we took; whatever was known has to be read again."""


Event = Changed | EventsLost


class Monitor:
    """An open subscription in one network namespace: events from `open_monitor` on."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def events(self) -> AsyncIterator[Event]:
        """Yield events until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, _RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise translate_os_error(error, "receive kernel events") from error
                yield EventsLost()
                continue
            for kind, _flags, _sequence, body in messages(data):
                if _is_told(kind, body):
                    yield _event(kind, body)


def _is_told(kind: int, body: bytes) -> bool:
    watched = _KIND_OF.get(kind)
    return watched is not None and (watched is not Watched.ROUTES or route.is_configured(body))


def _event(kind: int, body: bytes) -> Changed:
    watched = _KIND_OF[kind]
    # In rtnetlink every NEW is followed by its DEL.
    is_gone = kind % 4 == link.RTM_DELLINK % 4
    about = link.decode(body) if watched is Watched.LINKS else None
    return Changed(kind=watched, is_gone=is_gone, link=about)


@contextmanager
def open_monitor(*watched: Watched) -> Iterator[Monitor]:
    """Subscribe to changes in the calling thread's namespace.

    Subscribe first and read the state afterwards: then nothing falls between the two.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        for group in (group for one in watched for group in one.value):
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        yield Monitor(sock)
