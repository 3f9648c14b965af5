"""Has somebody touched our table of nftables? The kernel tells as soon as it has happened.

It tells of all tables, and a proxy of services changes its own without end: so no message is read
but for whether the table's name is in it and whose it is, and nothing is asked of the kernel. What
changed, or whether it was we, is for who asks afterwards.

Source: net/netfilter/nf_tables_api.c (nft_commit_notify: what comes in one datagram is of one
transaction; the header has the port of who made it), include/uapi/linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from terway.linux.netlink.codec import HEADER
from terway.linux.netlink.errors import translate_os_error
from terway.linux.netlink.port import is_own
from terway.linux.netlink.socket import NETLINK_NETFILTER

_GROUP = 7  # NFNLGRP_NFTABLES
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_RECEIVE_BYTES = 64 * 1024
_AT_ONCE = 64  # datagrams, before other work has its turn


@contextmanager
def follow_table(table: str, touched: asyncio.Event) -> Iterator[None]:
    """For the block, set `touched` when others change a table in the thread's namespace.

    Also when the kernel had more to tell than we took. To be called in a running event loop.
    Raises UsageError without CAP_NET_ADMIN.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER) as sock:
        try:
            sock.bind((0, 0))
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        except OSError as error:
            raise translate_os_error(error, "listen to changes of nftables") from error
        loop = asyncio.get_running_loop()
        needle = table.encode() + b"\0"
        loop.add_reader(sock, _take, sock, needle, touched)
        try:
            yield
        finally:
            loop.remove_reader(sock)


def _take(sock: socket.socket, needle: bytes, touched: asyncio.Event) -> None:
    for _ in range(_AT_ONCE):
        try:
            data = sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            touched.set()
            continue
        if needle in data and not is_own(HEADER.unpack_from(data)[4]):
            touched.set()
