"""Namespaces of its own for a test process, so that no name can clash and nothing stays behind."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move the calling thread, and all it will start, into new namespaces (unshare(2))."""
    if _libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare({flags:#x}): {os.strerror(code)}")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def enter_private_namespaces() -> None:
    """Enter new network, mount and UTS namespaces, with /run, /sys and bpffs of their own.

    The cgroup mounts are carried over: a fresh sysfs would hide them, and container runtimes
    need them. Everything is gone when the last process in here ends, however it ends.
    """
    unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS)
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tests-run", "/run")
    cgroups = Path("/run/.cgroup")
    cgroups.mkdir()
    if Path("/sys/fs/cgroup").is_dir():
        _mount("--rbind", "/sys/fs/cgroup", str(cgroups))
    _mount("-t", "sysfs", "sysfs", "/sys")
    _mount("--rbind", str(cgroups), "/sys/fs/cgroup")
    _mount("-t", "bpf", "bpf", "/sys/fs/bpf")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
