"""Whose is a netlink port? The kernel writes the asking socket's port into what it tells others.

A socket that does not choose gets the process id of its owner as port, a second one a number
beyond all processes. Ours choose: the process id in the low 22 bits (as libnl does; no kernel has
more processes), a count from 1 on in the upper ten. So what we changed is told from what others
changed, also when a hundred sockets of ours have come and gone.

Source: af_netlink.c (netlink_autobind), libnl's generate_local_port.
"""

from __future__ import annotations

import itertools
import os

PID_MASK = (1 << 22) - 1
_COUNTS = 1 << 10
_counter = itertools.count()


def next_port() -> int:
    """Return a port for a new socket of ours. It may be taken: another pid namespace's."""
    return (next(_counter) % (_COUNTS - 1) + 1) << 22 | os.getpid() & PID_MASK


def is_own(port: int) -> bool:
    """Return whether a socket of ours has, or had, `port`."""
    return port >> 22 != 0 and process_of(port) == os.getpid() & PID_MASK


def process_of(port: int) -> int:
    """Return the process that a port most likely belongs to, 0 for the kernel itself."""
    return port & PID_MASK
