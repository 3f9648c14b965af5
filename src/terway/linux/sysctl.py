"""Kernel settings under /proc/sys/net, of the network namespace that the calling thread is in.

/proc/sys/net shows the namespace of the task that opens the file (fs/proc/proc_sysctl.c), so a
thread inside `netns.entered` needs no process of its own. Values are compared before they are
written: several of these files take the RTNL lock on every write. Plain system calls: a pod has a
dozen settings, and file objects would cost more than all its netlink.
"""

from __future__ import annotations

import errno
import os

from terway.model.errors import ConflictError, TransientError, UsageError
from terway.model.network import Sysctl

_ROOT = "/proc/sys/"
_MAX_BYTES = 4096


def read(path: str) -> str | None:
    """Return the value of ``net/…``, None when the kernel has no such setting."""
    try:
        fd = os.open(_ROOT + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _MAX_BYTES).decode().strip()
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise TransientError(f"read sysctl {path}: {error.strerror}") from error


def write(wanted: Sysctl) -> None:
    """Write a value.

    Raises ConflictError when there is no such setting (the link is gone, or the kernel has the
    family switched off), UsageError when /proc/sys may not be written.
    """
    what = f"write {wanted.value!r} to sysctl {wanted.path}"
    try:
        fd = os.open(_ROOT + wanted.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, wanted.value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "")
        text = f"{what}: {error.strerror}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ConflictError(text, code=code) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "run with CAP_NET_ADMIN and a writable /proc/sys"
            raise UsageError(f"{text}; {remedy}", code=code) from error
        raise TransientError(text, code=code) from error


def ensure(wanted: Sysctl) -> None:
    """Write a value unless it is there already. Raises as `write` does."""
    if read(wanted.path) != wanted.value:
        write(wanted)
