"""Kernel settings under /proc/sys/net, of the network namespace that the calling thread is in.

/proc/sys/net shows the namespace of the task that opens the file (fs/proc/proc_sysctl.c), so a
thread inside `netns.entered` needs no process of its own. Values are compared before they are
written: several of these files take the RTNL lock on every write.
"""

from __future__ import annotations

import errno
from pathlib import Path

from terway.model.errors import ConflictError, TransientError, UsageError
from terway.model.network import Sysctl

_ROOT = Path("/proc/sys")


def read(path: str) -> str | None:
    """Return the value of ``net/…``, None when the kernel has no such setting."""
    try:
        return (_ROOT / path).read_text().strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise TransientError(f"read sysctl {path}: {error.strerror}") from error


def ensure(wanted: Sysctl) -> None:
    """Write the value unless it is there already.

    Raises ConflictError when there is no such setting (the link is gone, or the kernel has the
    family switched off), UsageError when /proc/sys may not be written.
    """
    if read(wanted.path) == wanted.value:
        return
    what = f"write {wanted.value!r} to sysctl {wanted.path}"
    try:
        (_ROOT / wanted.path).write_text(wanted.value)
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "")
        text = f"{what}: {error.strerror}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ConflictError(text, code=code) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "run with CAP_NET_ADMIN and a writable /proc/sys"
            raise UsageError(f"{text}; {remedy}", code=code) from error
        raise TransientError(text, code=code) from error
