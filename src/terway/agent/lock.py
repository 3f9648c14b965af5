"""Only one terwayd runs on a node: it holds a lock that ends with the process, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from terway.model.errors import UsageError

_POLL_S = 0.2


@asynccontextmanager
async def open_lock(path: Path, *, patience_s: float = 5.0) -> AsyncIterator[None]:
    """Hold the lock at `path`; wait up to `patience_s` for a predecessor that is stopping.

    Raises UsageError when another terwayd keeps it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        tries = int(patience_s / _POLL_S)
        while not _try_lock(descriptor):
            if tries <= 0:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                text = (
                    f"another terwayd holds {path}, process {holder}: "
                    "stop it, or give this one its own --run-dir"
                )
                raise UsageError(text, field="--run-dir")
            tries -= 1
            await asyncio.sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
