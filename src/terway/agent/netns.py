"""Is a network namespace the node's own, and do two paths lead to the same one?"""

from __future__ import annotations

import os

_OWN = "/proc/self/ns/net"


def is_own_netns(path: str) -> bool:
    """Return whether `path` is the node's network namespace. A path that is not there is not.

    The process never changes its namespace: `linux` does so only in threads of its own. It is
    looked at each time all the same (3 us): an inode number means nothing once it is remembered.
    """
    return is_same_netns(path, _OWN)


def is_same_netns(one: str, other: str) -> bool:
    """Return whether the paths are the same, or lead to the same network namespace now."""
    try:
        return one == other or os.path.samestat(os.stat(one), os.stat(other))
    except OSError:
        return False
