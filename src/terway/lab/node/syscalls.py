"""Which system calls make namespaces and mounts, and how are they called from Python?

Only ctypes and os: the node's init process forks for every container, so it stays small.
Every function raises OSError with the call and its arguments in the text.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000

MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (unshare(2))."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace behind `fd` (setns(2)); a PID namespace holds for children only."""
    _check(_libc.setns(fd, kind), f"setns(fd {fd}, {kind:#x})")


def enter_namespace(path: str) -> None:
    """Enter the namespace that the file at `path` stands for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd)
    finally:
        os.close(fd)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """Mount (mount(2)); empty `fstype` and `options` mean none."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        fstype.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount({source!r}, {target!r}, {fstype!r}, {flags:#x}, {options!r})")


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show `source` at `target`; read-only takes the second call that mount(2) asks for."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(target: str) -> None:
    """Detach the mount at `target` now, clean up when it is no longer busy."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount2({target!r})")


def pivot_into(root: str) -> None:
    """Make the mount `root` the root of this mount namespace and drop the old one.

    pivot_root(2) with "." twice stacks the old root over the new; unmounting "." then drops it.
    """
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root({root!r})")
    unmount(".")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    _check(_libc.sethostname(name.encode(), len(name.encode())), f"sethostname({name!r})")


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` when the thread that started this process ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), f"prctl(PDEATHSIG, {signal})")
