"""Is a network namespace the one that terwayd itself runs in, the node's?"""

from __future__ import annotations

import os
from functools import cache

_OWN = "/proc/self/ns/net"


def is_own_netns(path: str) -> bool:
    """Return whether `path` is the node's network namespace. A path that is not there is not.

    The process never changes its namespace: `linux` does so only in threads of its own.
    """
    try:
        return os.path.samestat(os.stat(path), _own())
    except OSError:
        return False


@cache
def _own() -> os.stat_result:
    return os.stat(_OWN)
