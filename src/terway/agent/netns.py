"""Is a network namespace the one that terwayd itself runs in, the node's?"""

from __future__ import annotations

import os

_OWN = "/proc/self/ns/net"


def is_own_netns(path: str) -> bool:
    """Return whether `path` is the node's network namespace. A path that is not there is not.

    The process never changes its namespace: `linux` does so only in threads of its own. It is
    looked at each time all the same (3 us): an inode number means nothing once it is remembered.
    """
    try:
        return os.path.samestat(os.stat(path), os.stat(_OWN))
    except OSError:
        return False
