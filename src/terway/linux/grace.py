"""Has every packet that was on its way when I asked come out of the packet filter?

A packet holds the kernel's read-copy-update lock while it passes the hooks of netfilter, and may
be held up in between: by another process, or by a hypervisor that has given the CPU to somebody
else. The kernel's own wait for all holders of the lock is had by membarrier(2).
"""

from __future__ import annotations

import ctypes
import platform
import time

_SYSCALL = {"x86_64": 324, "aarch64": 283}
_CMD_GLOBAL = 1  # include/uapi/linux/membarrier.h: calls synchronize_rcu()
# Where the call is missing (CONFIG_MEMBARRIER), or nohz_full forbids it: far longer than any hook.
_OTHERWISE_S = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_packets() -> None:
    """Return when all packets that were inside the kernel's hooks have left them: some 8 ms."""
    if _libc.syscall(_SYSCALL[platform.machine()], _CMD_GLOBAL, 0, 0) != 0:
        time.sleep(_OTHERWISE_S)
