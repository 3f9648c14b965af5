"""What did somebody else change? Netlink notifications of the node and of its pods, less our own.

 kernel ──► filter in the kernel: not ours, not the neighbours' everyday ──► Change
            (one wake-up for each that passes; an ADD of ours wakes nobody)

Pods' namespaces are heard by the same socket: the kernel tells of every namespace that has a
number here, and a veth's other end has one (NETLINK_LISTEN_ALL_NSID, Linux 4.2).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from terway.linux.netlink import address, link, neighbour, route, rule
from terway.linux.netlink.codec import HEADER, attributes
from terway.linux.netlink.errors import translate_os_error
from terway.linux.netlink.port import PID_MASK, next_port, process_of
from terway.linux.netlink.socket import NETLINK_ROUTE, bind
from terway.linux.netns import OWN_NETNS
from terway.model.network import Link, Route, RoutingRule

_RECEIVE_BYTES = 64 * 1024
# What one ADD makes the kernel tell is read in one go, and not while its messages are sent: each
# read would make the thread that sends them wait for the interpreter's lock.
_TOGETHER_S = 0.1
_BUFFER_BYTES = 1024 * 1024  # `ip rule flush` on a full node: a thousand events at once
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_LISTEN_ALL_NSID = 8
_SO_ATTACH_FILTER = 26
_INDEX = struct.Struct("=i")
_NETCONFA_IFINDEX = 1
_PID_NS_INIT_INO = 0xEFFFFFFC  # include/uapi/linux/nsfs.h
_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_FLAGS_AT = 6  # after the name in /proc/<pid>/stat, proc_pid_stat(5)
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)

# RTNLGRP_*: link, neighbour, traffic control, addresses, routes, rules, netconf.
_GROUPS = (1, 3, 4, 5, 7, 8, 9, 11, 19, 24, 25)


class Kind(Enum):
    """What kind of object a change is about; the value names it to people."""

    LINK = "link"
    ADDRESS = "address"
    ROUTE = "route"
    RULE = "rule"
    NEIGHBOUR = "neighbour"
    SETTING = "sysctl"
    TRAFFIC = "traffic control"


# Message types come in fours: NEW, DEL, GET, SET (rtnetlink.h).
_KIND_OF = {
    link.RTM_NEWLINK // 4: Kind.LINK,
    address.RTM_NEWADDR // 4: Kind.ADDRESS,
    route.RTM_NEWROUTE // 4: Kind.ROUTE,
    neighbour.RTM_NEWNEIGH // 4: Kind.NEIGHBOUR,
    rule.RTM_NEWRULE // 4: Kind.RULE,
    36 // 4: Kind.TRAFFIC,  # RTM_NEWQDISC
    40 // 4: Kind.TRAFFIC,  # RTM_NEWTCLASS
    44 // 4: Kind.TRAFFIC,  # RTM_NEWTFILTER
    80 // 4: Kind.SETTING,  # RTM_NEWNETCONF
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something came, changed or went, by the hand of `process` (0: the kernel's own).

    `nsid` is the number of the namespace it happened in, None for the node's own. Of the node,
    what came or went is told of links, routes and rules, and of the others on which link it was:
    0 where there is none, negative for a setting of all links.
    """

    kind: Kind
    is_gone: bool
    process: int
    nsid: int | None = None
    object: Link | Route | RoutingRule | None = None
    ifindex: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesLost:
    """There were more events than we took; whatever was known has to be looked at again."""


class ForeignChanges:
    """An open subscription; what happens from `open_foreign_changes` on is told."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def read(self) -> AsyncIterator[Change | ChangesLost]:
        """Yield changes until cancelled."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                loop.remove_reader(self._socket)
                await asyncio.sleep(_TOGETHER_S)
                for change in self._waiting():
                    yield change
                loop.add_reader(self._socket, readable.set)
        finally:
            loop.remove_reader(self._socket)

    def _waiting(self) -> Iterator[Change | ChangesLost]:
        """Yield all that can be read now."""
        while True:
            try:
                data, extra, _, _ = self._socket.recvmsg(_RECEIVE_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise translate_os_error(error, "receive kernel events") from error
                yield ChangesLost()
                continue
            yield from decode(data, _nsid(extra))


def decode(data: bytes, nsid: int | None) -> Iterator[Change]:
    """Yield the changes that one datagram tells of."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, _flags, _sequence, port = HEADER.unpack_from(data, start)
        if length < HEADER.size or start + length > len(data):
            return
        named = _KIND_OF.get(kind // 4)
        if named is not None:
            body = data[start + HEADER.size : start + length]
            about = _object(named, body) if nsid is None else None
            yield Change(
                kind=named,
                is_gone=kind % 4 == 1,
                process=process_of(port),
                nsid=nsid,
                object=about,
                ifindex=_ifindex(named, body),
            )
        start += (length + 3) & ~3


def _object(kind: Kind, body: bytes) -> Link | Route | RoutingRule | None:
    match kind:
        case Kind.LINK:
            return link.decode(body)
        case Kind.ROUTE:
            return route.decode(body, str)
        case Kind.RULE:
            return rule.decode(body)
        case _:
            return None


def _ifindex(kind: Kind, body: bytes) -> int:
    match kind:
        case Kind.SETTING:
            found = attributes(body, 4).get(_NETCONFA_IFINDEX, b"")
            return int(_INDEX.unpack(found)[0]) if len(found) == _INDEX.size else 0
        case Kind.LINK | Kind.ADDRESS | Kind.TRAFFIC | Kind.NEIGHBOUR:
            # The same place in ifinfomsg, ifaddrmsg, tcmsg and ndmsg.
            return int(_INDEX.unpack_from(body, 4)[0])
        case _:
            return 0


def _nsid(extra: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, value in extra:
        if (level, kind) == (_SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID):
            return int(struct.unpack("=i", value[:4])[0])
    return None


@contextmanager
def open_foreign_changes() -> Iterator[ForeignChanges]:
    """Subscribe in the calling thread's namespace, and in those of its pods.

    Without CAP_NET_BROADCAST the node's own namespace alone is heard. Subscribe first and read
    the state afterwards: then nothing falls between the two.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, NETLINK_ROUTE) as sock:
        _attach_filter(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        try:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID, 1)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOPROTOOPT):
                raise
        bind(sock)
        for group in _GROUPS:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        yield ForeignChanges(sock)


def name_of_process(process: int) -> str | None:
    """Return what the process is called that changed this network namespace; empty: it has ended.

    None when the number says nothing. A port is the process's id in its own pid namespace: where
    ours is not the machine's, it may be anybody's, and a process here that has the number by chance
    is told by its network namespace, or by being the kernel's own.
    """
    if os.stat("/proc/self/ns/pid").st_ino != _PID_NS_INIT_INO:
        return None
    folder = Path(f"/proc/{process}")
    try:
        found = (folder / "ns/net").stat()
        words = (folder / "stat").read_text().rpartition(")")[2].split()
        is_kernels = int(words[_FLAGS_AT]) & _PF_KTHREAD
        can_be_it = os.path.samestat(found, os.stat(OWN_NETNS)) and not is_kernels
        return (folder / "comm").read_text().strip() if can_be_it else None
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except OSError:
        return None


# Classic BPF, in the words of linux/filter.h and bpf_common.h. Loads are in network order,
# netlink is in the machine's: the constants to compare with are swapped.
_LOAD_32, _LOAD_16, _LOAD_8 = 0x20, 0x28, 0x30
_IF_EQUAL, _IF_SET, _AND, _RETURN = 0x15, 0x45, 0x54, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_TYPE_AT, _PORT_AT = 4, 12  # struct nlmsghdr
_STATE_AT = HEADER.size + 8  # struct ndmsg
_PROTOCOL_AT = HEADER.size + 5  # struct rtmsg
_NUD_FAILED, _NUD_PERMANENT = 0x20, 0x80
_RTPROT_KERNEL = 2
_PASS = 0xFFFFFFFF


def _filter() -> tuple[tuple[int, int, int, int], ...]:
    """Return the program: (code, steps to jump if true, if false, constant).

    Own changes are dropped, the routes that the kernel makes by itself, and of neighbours all but
    permanent ones: those that packets find come and go all day. (A permanent one is removed by
    making it FAILED first.)
    """
    own = socket.htonl(next_port() & PID_MASK)
    permanent = socket.htons(_NUD_PERMANENT | _NUD_FAILED)
    return (
        (_LOAD_32, 0, 0, _PORT_AT),
        (_AND, 0, 0, socket.htonl(PID_MASK)),
        (_IF_EQUAL, 10, 0, own),  # to the last: drop
        (_LOAD_16, 0, 0, _TYPE_AT),
        (_IF_EQUAL, 3, 0, socket.htons(neighbour.RTM_NEWNEIGH)),
        (_IF_EQUAL, 2, 0, socket.htons(neighbour.RTM_DELNEIGH)),
        (_IF_EQUAL, 3, 0, socket.htons(route.RTM_NEWROUTE)),
        (_IF_EQUAL, 2, 4, socket.htons(route.RTM_DELROUTE)),
        (_LOAD_16, 0, 0, _STATE_AT),
        (_IF_SET, 2, 3, permanent),
        (_LOAD_8, 0, 0, _PROTOCOL_AT),
        (_IF_EQUAL, 1, 0, _RTPROT_KERNEL),
        (_RETURN, 0, 0, _PASS),
        (_RETURN, 0, 0, 0),
    )


def _attach_filter(sock: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*one) for one in _filter()))
    program = struct.pack("@HP", len(_filter()), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
