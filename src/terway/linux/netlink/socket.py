"""The netlink socket: sends requests, gathers acknowledgements and dumps. Blocking; for workers.

A request is answered while send(2) runs, so waiting for its acknowledgement costs one recv(2).
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from terway.linux.netlink.codec import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Query,
    Request,
    Words,
    message,
    messages,
)
from terway.linux.netlink.errors import error_code, error_detail, translate, translate_os_error
from terway.linux.netlink.port import next_port
from terway.linux.netns import entered
from terway.model.errors import TransientError

T = TypeVar("T")

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12

_SIOCGIFINDEX = 0x8933
_IFREQ = struct.Struct("=16si20x")  # struct ifreq: name, number, and the rest of the union

# The kernel fills dumps into the buffer of the reader, at most 32 KiB at a time.
_RECEIVE_BYTES = 64 * 1024
# So that the acknowledgements of the largest batch fit into the socket's buffer.
_BATCH = 64
_DUMP_ATTEMPTS = 10
_ENDS = (NLMSG_DONE, NLMSG_ERROR)
_ABSENT = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH})


class _InterruptedDumpError(Exception):
    """The table changed while it was read; what came is not one consistent state."""


class Transport(Protocol):
    """What carries bytes to the kernel and back: a connected netlink socket."""

    def send(self, data: bytes, /) -> int:
        """Send one datagram; the kernel has answered when this returns."""
        ...

    def recv(self, limit: int, /) -> bytes:
        """Return the next datagram."""
        ...

    def fileno(self) -> int:
        """Return the file descriptor."""
        ...

    def close(self) -> None:
        """Close it. Idempotent."""
        ...


def connect(family: int) -> Transport:
    """Return a netlink socket of a family, in the calling thread's network namespace."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    try:
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            _switch_on(opened, option)
        bind(opened)
    except OSError:
        opened.close()
        raise
    return opened


def bind(opened: socket.socket) -> None:
    """Give a netlink socket a port that tells it is ours, in notifications of what it changes."""
    try:
        opened.bind((next_port(), 0))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        opened.bind((0, 0))  # a process of another pid namespace has it: any will do


def _switch_on(opened: socket.socket, option: int) -> None:
    try:
        opened.setsockopt(_SOL_NETLINK, option, 1)
    except OSError as error:
        # Each makes answers better, none is needed: filters are applied here again.
        if error.errno != errno.ENOPROTOOPT:
            raise


class NetlinkSocket:
    """A conversation with the kernel over one netlink socket. Not for two threads at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._sequence = 0

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Carry out `requests` in order, in as few system calls as possible.

        The kernel goes on after a failure within a batch: when this raises, later requests may
        have been carried out. The error names the first that failed.
        """
        for start in range(0, len(requests), _BATCH):
            self._send_batch(requests[start : start + _BATCH])

    def request(self, request: Request) -> None:
        """Carry out one request."""
        self._send_batch((request,))

    def query(self, query: Query[T]) -> list[T]:
        """Return all answers to `query`.

        A dump that the kernel marks as interrupted is repeated (bug class "dump interrupted":
        half of a table looks like a table with entries missing). Raises TransientError when the
        table does not stand still for ten attempts.
        """
        for _attempt in range(_DUMP_ATTEMPTS):
            try:
                return self._answers(query)
            except _InterruptedDumpError:
                continue
        raise TransientError(f"{query.what}: changed during each of {_DUMP_ATTEMPTS} reads")

    def first(self, query: Query[T]) -> T | None:
        """Return the first answer to `query`, None when what it asks for does not exist."""
        return next(iter(self.query(query)), None)

    def _send_batch(self, requests: Sequence[Request]) -> None:
        first = self._sequence + 1
        self._sequence += len(requests)
        packed = (
            message(r.type, r.flags | NLM_F_REQUEST | NLM_F_ACK, sequence, r.body)
            for sequence, r in enumerate(requests, first)
        )
        self._transmit(b"".join(packed), requests[0].what)
        failure: Exception | None = None
        awaited = len(requests)
        while awaited:
            for kind, flags, sequence, body in messages(self._receive(requests[0].what)):
                if kind != NLMSG_ERROR or not first <= sequence < first + len(requests):
                    continue  # an echo, or the late answer to an abandoned request
                awaited -= 1
                request = requests[sequence - first]
                code = error_code(body)
                if code and code not in request.tolerated and failure is None:
                    failure = translate(code, str(request.what), error_detail(flags, body))
        if failure is not None:
            raise failure

    def _answers(self, query: Query[T]) -> list[T]:
        self._sequence += 1
        flags = NLM_F_REQUEST | (NLM_F_DUMP if query.is_dump else 0)
        self._transmit(message(query.type, flags, self._sequence, query.body), query.what)
        seen_flags = 0
        found: list[T] = []
        more = True
        while more:
            data = self._receive(query.what)
            for kind, answer_flags, sequence, body in messages(data, query.needles):
                if sequence != self._sequence:
                    continue
                seen_flags |= answer_flags
                if kind in _ENDS:
                    self._check_end(query, answer_flags, body)
                    more = False
                elif (value := query.decode(body)) is not None:
                    found.append(value)
            more = more and query.is_dump
        if seen_flags & NLM_F_DUMP_INTR:
            raise _InterruptedDumpError
        return found

    def _check_end(self, query: Query[T], flags: int, body: bytes) -> None:
        # A table, link or route that does not exist has nothing in it.
        code = error_code(body)
        if code and code not in _ABSENT:
            raise translate(code, query.what, error_detail(flags, body))

    def _transmit(self, data: bytes, what: str | Words) -> None:
        try:
            self._transport.send(data)
        except OSError as error:
            raise translate_os_error(error, str(what)) from error

    def _receive(self, what: str | Words) -> bytes:
        try:
            return self._transport.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise translate_os_error(error, str(what)) from error


class RouteSocket(NetlinkSocket):
    """A socket for links, addresses, routes, rules, neighbours and traffic control."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._transport.fileno()

    def index_of(self, name: str) -> int | None:
        """Return the number of a link, None when there is none.

        By ioctl (netdevice(7)), which takes no lock: RTM_GETLINK waits for RTNL.
        """
        asked = _IFREQ.pack(name.encode(), 0)
        try:
            answer = fcntl.ioctl(self._transport.fileno(), _SIOCGIFINDEX, asked)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise translate_os_error(error, f"number of link {name}") from error
        return int(_IFREQ.unpack(answer)[1])


@contextmanager
def open_route_socket(netns_fd: int | None = None) -> Iterator[RouteSocket]:
    """Open a route socket in the namespace of `netns_fd` (None: the thread's own).

    The thread is in that namespace only while the socket is made (20 us): a socket belongs to
    the namespace it was born in, whoever uses it later.
    """
    if netns_fd is None:
        opened = RouteSocket(connect(NETLINK_ROUTE))
    else:
        with entered(netns_fd):
            opened = RouteSocket(connect(NETLINK_ROUTE))
    with closing(opened):
        yield opened


def send_all(sock: NetlinkSocket, requests: Iterable[Request]) -> None:
    """Carry out `requests`, none included."""
    batch = tuple(requests)
    if batch:
        sock.send(batch)
