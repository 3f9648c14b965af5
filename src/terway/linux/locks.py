"""The lock that lets one process of a kind run on a node."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from terway.model.errors import UsageError


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block; it holds our process id.

    The kernel lets go of it when the process ends, however it ends. Raises UsageError when
    another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise UsageError(
                f"{path} is held by process {holder}; stop it first", field=str(path)
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
