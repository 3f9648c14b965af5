"""What passes a link: packets by AF_PACKET, in any namespace. Source: packet(7)."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from terway.linux.netns import entered, open_netns
from terway.model.errors import ConflictError, UsageError

_ETH_P_ALL = 0x0003
_SO_TIMESTAMPNS = 35  # include/uapi/asm-generic/socket.h, SO_TIMESTAMPNS_OLD
_TIMESPEC = struct.Struct("=qq")
_BUFFER_BYTES = 8 * 1024 * 1024
_DRAIN_S = 0.1


@contextmanager
def open_tap(netns: str, link: str) -> Iterator[socket.socket]:
    """Open a socket that sees what passes `link` in a namespace (empty: the thread's own).

    Raises ConflictError when either is not there, UsageError without CAP_NET_RAW.
    """
    with ExitStack() as stack:
        if netns:
            stack.enter_context(entered(stack.enter_context(open_netns(netns)).fd))
        try:
            # No protocol until it is bound: nothing of other links gets in between.
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise UsageError("capture: run it with CAP_NET_RAW, as root") from error
        try:
            tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            tap.bind((link, _ETH_P_ALL))
        except OSError as error:
            tap.close()
            text = f"capture on {link}: {error.strerror}"
            raise ConflictError(text, code="ENODEV") from error
    with tap:
        yield tap


def listen(
    taps: Sequence[socket.socket],
    take: Callable[[int, int, bytes], bool],
    *,
    seconds: float,
    snap_bytes: int,
) -> None:
    """Give every frame to `take` (which tap, nanoseconds since the epoch, bytes) until it says so.

    `take` returns whether to go on; what comes in the tenth of a second after that is given to it,
    too. Ends after `seconds` all the same.
    """
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for index, tap in enumerate(taps):
            tap.setblocking(False)
            selector.register(tap, selectors.EVENT_READ, index)
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                tap = taps[key.data]
                if not take(key.data, *_receive(tap, snap_bytes)):
                    # What passed one end last is still on its way past the other.
                    end = min(end, time.monotonic() + _DRAIN_S)


def _receive(tap: socket.socket, snap_bytes: int) -> tuple[int, bytes]:
    data, ancillary, _flags, _address = tap.recvmsg(snap_bytes, 256)
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, rest = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            return seconds * 1_000_000_000 + rest, data
    return time.time_ns(), data
