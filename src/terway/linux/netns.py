"""Network namespaces: how to open, make, enter and delete one.

A namespace is entered by the calling thread alone (setns(2) is per thread) and left again in the
same call, so that a worker thread is never found in a pod's namespace. The event loop's thread
does not call `entered`: a thread in another namespace opens its files and sockets there.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from terway.model.errors import BugError, ConflictError, TransientError, UsageError, VpcError

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h
_MS_BIND = 0x1000
_MNT_DETACH = 2
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h; Linux 5.14
OWN_NETNS = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNetns:
    """An open network namespace. `inode` tells two apart, whatever their paths."""

    fd: int
    inode: int


def _call(what: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _translate(error: OSError, what: str) -> VpcError:
    name = errno.errorcode.get(error.errno or 0, "")
    text = f"{what}: {error.strerror or error}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESRCH, errno.EEXIST):
        return ConflictError(text, code=name)
    if error.errno in (errno.EPERM, errno.EACCES):
        return UsageError(f"{text}; run with CAP_SYS_ADMIN", code=name)
    return TransientError(text, code=name)


@contextmanager
def open_netns(path: str) -> Iterator[OpenNetns]:
    """Open the network namespace at `path` (a bind mount, or ``/proc/<pid>/ns/net``).

    Raises ConflictError when nothing is there, UsageError when it is no network namespace.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _translate(error, f"open network namespace {path!r}") from error
    try:
        _check_is_netns(fd, path)
        yield OpenNetns(fd=fd, inode=os.fstat(fd).st_ino)
    finally:
        os.close(fd)


def _check_is_netns(fd: int, path: str) -> None:
    # A plain file is what is left of a bind mount after a reboot, or of a deleted namespace.
    kind = 0
    with suppress(OSError):
        kind = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    if kind != _CLONE_NEWNET:
        raise UsageError(f"{path!r} is not a network namespace", field="CNI_NETNS", code="EINVAL")


def netns_inode(path: str) -> int | None:
    """Return the inode of the namespace at `path`, None when there is none."""
    try:
        with open_netns(path) as opened:
            return opened.inode
    except (ConflictError, UsageError):
        return None


def identity_of(netns_fd: int, socket_fd: int) -> str:
    """Return what no other namespace has until the machine starts anew; the socket is in it.

    An inode's number is given again as soon as its namespace has ended, a cookie never is. Kernels
    without cookies tell when the inode was made, too: a bind mount keeps it as it is. That of
    ``/proc/<pid>/ns/net`` is made anew whenever nobody has it open, and so is never recognized.
    """
    cookie, size = ctypes.c_uint64(), ctypes.c_uint(8)
    at = ctypes.byref(cookie), ctypes.byref(size)
    if _libc.getsockopt(socket_fd, socket.SOL_SOCKET, _SO_NETNS_COOKIE, *at) == 0:
        return f"cookie {cookie.value}"
    inode = os.fstat(netns_fd)
    return f"inode {inode.st_ino} of {inode.st_ctime_ns}"


def own_netns_inode() -> int:
    """Return the inode of the calling thread's namespace."""
    return os.stat(OWN_NETNS).st_ino


@contextmanager
def entered(fd: int) -> Iterator[None]:
    """Be in the network namespace of `fd` inside the block; the calling thread only.

    Raises BugError when the thread cannot go back: it must not be used any more.
    """
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _call("setns", _libc.setns(fd, _CLONE_NEWNET))
        except OSError as error:
            raise _translate(error, "enter network namespace") from error
        try:
            yield
        finally:
            _go_home(home)
    finally:
        os.close(home)


def _go_home(home: int) -> None:
    try:
        _call("setns", _libc.setns(home, _CLONE_NEWNET))
    except OSError as error:
        raise BugError(f"thread is stuck in a foreign network namespace: {error}") from error


def create_netns(path: str) -> None:
    """Create a network namespace and keep it at `path`, as ``ip netns add`` does.

    Raises ConflictError (code EEXIST) when the path exists.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.touch(exist_ok=False)
    except OSError as error:
        raise _translate(error, f"create network namespace {path!r}") from error
    try:
        _unshare_onto(path)
    except OSError as error:
        target.unlink()
        raise _translate(error, f"create network namespace {path!r}") from error


def _unshare_onto(path: str) -> None:
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _libc.unshare(_CLONE_NEWNET))
        try:
            source = OWN_NETNS.encode()
            _call("mount", _libc.mount(source, path.encode(), None, _MS_BIND, None))
        finally:
            _go_home(home)
    finally:
        os.close(home)


@contextmanager
def fresh_netns() -> Iterator[None]:
    """Be in a network namespace of its own inside the block; it ends with it. This thread only."""
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _call("unshare", _libc.unshare(_CLONE_NEWNET))
        except OSError as error:
            raise _translate(error, "make a network namespace") from error
        try:
            yield
        finally:
            _go_home(home)
    finally:
        os.close(home)


def delete_netns(path: str) -> None:
    """Unmount and remove `path`. The namespace ends with its last user; idempotent."""
    if _libc.umount2(path.encode(), _MNT_DETACH) != 0:
        code = ctypes.get_errno()
        if code not in (errno.ENOENT, errno.EINVAL):  # EINVAL: not a mount point
            error = OSError(code, os.strerror(code))
            raise _translate(error, f"delete network namespace {path!r}")
    Path(path).unlink(missing_ok=True)
