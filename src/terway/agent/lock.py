"""Only one terwayd runs on a node: it holds two locks that end with the process, however it ends.

A file, whose holder is told to people; and a name in the network namespace, because two that were
given different folders, or live in different mount namespaces, would change the same kernel.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from terway.model.errors import UsageError

# An abstract name (unix(7)): no file, and each network namespace has its own.
NAME = "\0terway/terwayd"

_POLL_S = 0.2
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group


@asynccontextmanager
async def open_lock(path: Path, *, patience_s: float = 5.0) -> AsyncIterator[None]:
    """Hold both locks; wait up to `patience_s` for a predecessor that is stopping.

    Raises UsageError when another terwayd keeps one of them.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as name:
        try:
            tries = int(patience_s / _POLL_S)
            while problem := _try_file(descriptor, path) or _try_name(name):
                if tries <= 0:
                    raise UsageError(problem, field="--run-dir")
                tries -= 1
                await asyncio.sleep(_POLL_S)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def _try_file(descriptor: int, path: Path) -> str:
    """Lock the file, or return why not."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        return (
            f"another terwayd holds {path}, process {holder}: "
            "stop it, or give this one its own --run-dir and network namespace"
        )
    return ""


def _try_name(name: socket.socket) -> str:
    """Take the name in the network namespace, or return why not."""
    try:
        name.bind(NAME)
        name.listen()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return (
            f"another terwayd, process {_holder()}, runs in this network namespace with "
            "other folders: two would undo each other's work; stop one of them"
        )
    return ""


def _holder() -> str:
    """Return the process that has the name; 0 is one of another pid namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.connect(NAME)
        except OSError:
            return "unknown"  # it ended between the two
        said = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return str(_CREDENTIALS.unpack(said)[0] or "unknown")
