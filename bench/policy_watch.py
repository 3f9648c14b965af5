"""When does the kernel tell of an element of a set of nftables? That is when it is in force.

Source: linux/netfilter/nfnetlink.h and nf_tables.h; nf_tables_commit() tells after the switch to
the new generation.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from terway.linux.netns import entered, open_netns

_NETLINK_NETFILTER = 12
_NFNLGRP_NFTABLES = 7
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
_NEWSETELEM, _DELSETELEM = 10 << 8 | 12, 10 << 8 | 14  # of the subsystem nf_tables
_IPV4_VALUE = bytes((8, 0, 1, 0))  # the head of an NFTA_DATA_VALUE of four bytes
_HEAD = 16  # bytes, of a message
_BUFFER_BYTES = 64 * 1024 * 1024
_READ_BYTES = 1 << 20


class Elements:
    """When the kernel told of elements with an IPv4 address, and whether they were added.

    Moments are seconds of time.monotonic(). One thread takes, others ask.
    """

    def __init__(self) -> None:
        self._told: dict[bytes, list[tuple[float, bool]]] = {}
        self._news = threading.Condition()

    def take(self, data: bytes, now: float) -> None:
        """Take the messages of one read."""
        with self._news:
            for kind, body in _messages(data):
                if kind in (_NEWSETELEM, _DELSETELEM):
                    for address in _addresses(body):
                        self._told.setdefault(address, []).append((now, kind == _NEWSETELEM))
            self._news.notify_all()

    def first(self, address: IPv4Address, *, since: float, is_added: bool) -> float | None:
        """Return when an address was first added, or taken out, after `since`; None: never."""
        moments = self._told.get(address.packed, ())
        return next((at for at, added in moments if at >= since and added is is_added), None)

    def wait(self, is_done: Callable[[], object], *, timeout_s: float) -> None:
        """Wait until something is true of what was told; TimeoutError if it never is."""
        with self._news:
            if not self._news.wait_for(is_done, timeout_s):
                raise TimeoutError(f"the kernel did not tell of all changes within {timeout_s} s")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEAD <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "little")
        kind = int.from_bytes(data[offset + 4 : offset + 6], "little")
        yield kind, data[offset + _HEAD : offset + length]
        offset += length + 3 & ~3


def _addresses(body: bytes) -> Iterator[bytes]:
    at = body.find(_IPV4_VALUE)
    while at >= 0:
        yield body[at + 4 : at + 8]
        at = body.find(_IPV4_VALUE, at + 4)


@contextmanager
def watched(netns_path: str) -> Iterator[Elements]:
    """Take note of all elements of sets in a namespace, in a thread of its own."""
    with open_netns(netns_path) as opened, entered(opened.fd):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    found, ended = Elements(), threading.Event()
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        sock.bind((0, 0))  # without a port of its own it would hear nothing
        sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        sock.settimeout(0.2)
        reader = threading.Thread(target=_read, args=(sock, found, ended))
        reader.start()
        try:
            yield found
        finally:
            ended.set()
            reader.join()


def _read(sock: socket.socket, found: Elements, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            data = sock.recv(_READ_BYTES)
        except TimeoutError:
            continue
        found.take(data, time.monotonic())
