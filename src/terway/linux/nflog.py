"""Which packets did a rule of nftables log? A group of NFLOG, read without ever waiting.

`log group N` in a rule makes the kernel copy the head of a packet to whoever bound the group, and
costs next to nothing while nobody has. A group belongs to the network namespace it was bound in,
and to one socket. Source: include/uapi/linux/netfilter/nfnetlink_log.h, net/netfilter/
nfnetlink_log.c; the rest is network byte order, as there.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import time
from dataclasses import dataclass

from terway.linux.netlink.codec import Request, attr, attributes, messages, text
from terway.linux.netlink.errors import translate_os_error
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, bind
from terway.linux.netns import entered, open_netns
from terway.model.errors import ConflictError, VpcError

_CONFIG = 4 << 8 | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG
_PACKET = 4 << 8
_NFGENMSG = struct.Struct("!BBH")  # family, version, group

_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT, _CFG_QTHRESH, _CFG_FLAGS = 1, 2, 4, 5, 6
_BIND = 1
_COPY_PACKET = 2
_NUMBERED = 1  # NFULNL_CFG_F_SEQ

_MARK, _TIMESTAMP, _IN, _OUT, _PAYLOAD, _PREFIX, _SEQUENCE = 2, 3, 4, 5, 9, 10, 12
_U32 = struct.Struct("!I")
_TIME = struct.Struct("!QQ")  # seconds, microseconds
_HEAD = 4

COPY_BYTES = 128  # of each packet: the longest usual headers
_BATCH_PACKETS = 64  # as many wait in the kernel for one datagram, …
_BATCH_CENTISECONDS = 10  # … and no longer than this
_BUFFER_BYTES = 2 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_DATAGRAMS = 32  # at a time: other work of the loop has its turn in between
_SO_RCVBUFFORCE = 33
_SIOCGIFNAME = 0x8910
_IFREQ = struct.Struct("=16si20x")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedPacket:
    """The head of a packet as the rule saw it. `at_ns` is since the epoch; no link is number 0."""

    at_ns: int
    prefix: str
    mark: int = 0
    in_index: int = 0
    out_index: int = 0
    packet: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one look brought. `lost` packets were logged before them and came to nobody."""

    packets: tuple[LoggedPacket, ...] = ()
    lost: int = 0


class PacketLog:
    """A bound group. `fileno` becomes readable when there is something to take."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._next: int | None = None  # the number that the next packet should have
        self._told = 0  # lost packets that were told before a number showed how many there were

    def close(self) -> None:
        """Let go of the group. Idempotent."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the file descriptor, to wait for."""
        return self._socket.fileno()

    def take(self) -> Taken:
        """Return what has come since, without waiting."""
        found: list[LoggedPacket] = []
        lost = 0
        for _ in range(_DATAGRAMS):
            data, overruns = self._receive()
            lost += overruns
            if data is None:
                break
            for kind, _flags, _sequence, body in messages(data):
                if kind == _PACKET:
                    known = attributes(body, _HEAD)
                    lost += self._missing_before(known)
                    found.append(_decode(known))
        return Taken(packets=tuple(found), lost=lost)

    def link_name(self, index: int) -> str:
        """Return the name of a link in the namespace of the group, empty when there is none."""
        if not index:
            return ""
        try:
            answer = fcntl.ioctl(self._socket.fileno(), _SIOCGIFNAME, _IFREQ.pack(b"", index))
        except OSError:
            return ""  # gone since
        return text(_IFREQ.unpack(answer)[0])

    def _receive(self) -> tuple[bytes | None, int]:
        """Return a datagram if there is one, and how many packets must be told as lost at once."""
        overruns = 0
        while True:
            try:
                return self._socket.recv(_RECEIVE_BYTES), overruns
            except BlockingIOError:
                return None, overruns
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise translate_os_error(error, "receive logged packets") from error
                # How many is seen by the number of the next packet, if there ever is one.
                overruns += 1 - self._told
                self._told = 1

    def _missing_before(self, known: dict[int, bytes]) -> int:
        if _SEQUENCE not in known:
            return 0
        number = int(_U32.unpack_from(known[_SEQUENCE])[0])
        missing = 0 if self._next is None else (number - self._next) & 0xFFFFFFFF
        self._next = (number + 1) & 0xFFFFFFFF
        if not missing:
            return 0
        told, self._told = self._told, 0
        return missing - told


def _decode(known: dict[int, bytes]) -> LoggedPacket:
    return LoggedPacket(
        at_ns=_time(known.get(_TIMESTAMP)),
        prefix=text(known.get(_PREFIX, b"")),
        mark=_number(known.get(_MARK)),
        in_index=_number(known.get(_IN)),
        out_index=_number(known.get(_OUT)),
        packet=known.get(_PAYLOAD, b""),
    )


def _number(data: bytes | None) -> int:
    return int(_U32.unpack_from(data)[0]) if data else 0


def _time(data: bytes | None) -> int:
    # A packet that left a process here may have none.
    if not data:
        return time.time_ns()
    seconds, microseconds = _TIME.unpack_from(data)
    return int(seconds) * 1_000_000_000 + int(microseconds) * 1000


def bind_packet_log(group: int, netns: str = "", *, buffer_bytes: int = _BUFFER_BYTES) -> PacketLog:
    """Bind a group of the namespace at a path (empty: the calling thread's own) until it is closed.

    Raises ConflictError when the namespace is gone, or another socket has the group; UsageError
    where the kernel has no NFLOG.
    """
    opened = _socket(netns)
    try:
        _widen(opened, buffer_bytes)
        bind(opened)
        # One message: nothing is logged with the kernel's own idea of how much to copy.
        NetlinkSocket(opened).request(_configuration(group))
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise translate_os_error(error, f"bind log group {group}") from error
    except VpcError as error:
        opened.close()
        if error.code == "EPERM":  # a socket without the right to bind is not let even so far
            text = f"bind log group {group}: another program has it; end that, or its log rules"
            raise ConflictError(text, code="EPERM") from error
        raise
    return PacketLog(opened)


def _socket(netns: str) -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    try:
        if not netns:
            return socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        with open_netns(netns) as there, entered(there.fd):
            return socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    except OSError as error:
        raise translate_os_error(error, "open log of packets") from error


def _widen(opened: socket.socket, buffer_bytes: int) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
    except PermissionError:  # no CAP_NET_ADMIN over the machine: as much as it lets anyone have
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)


def _configuration(group: int) -> Request:
    body = _NFGENMSG.pack(socket.AF_UNSPEC, 0, group) + b"".join(
        (
            attr(_CFG_CMD, struct.pack("!B", _BIND)),
            attr(_CFG_MODE, struct.pack("!IBx", COPY_BYTES, _COPY_PACKET)),
            attr(_CFG_TIMEOUT, _U32.pack(_BATCH_CENTISECONDS)),
            attr(_CFG_QTHRESH, _U32.pack(_BATCH_PACKETS)),
            attr(_CFG_FLAGS, struct.pack("!H", _NUMBERED)),
        )
    )
    return Request(type=_CONFIG, flags=0, body=body, what=f"bind log group {group}")
