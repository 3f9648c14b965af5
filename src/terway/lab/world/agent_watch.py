"""Does terwayd serve again after it was restarted? And if not, what does it say?"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from terway.lab.world.lastwords import agent_trouble
from terway.lab.world.node import NodeHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import TransientError

_SOCKET = "/var/run/eni/cni.socket"
_LOOK_EVERY_S = 0.05
_TRIES = 3  # starts after which it counts as a crash loop


async def wait_serving(node: NodeHandle, *, timeout_s: float = PATIENCE_S) -> None:
    """Return once terwayd takes connections. TransientError with its last error when it does not.

    Its socket is outside of what we are told of, and so is looked at again and again.
    """
    starts = node.agent_starts
    try:
        async with asyncio.timeout(timeout_s):
            while not await _is_serving(node):
                if node.agent_starts >= starts + _TRIES:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                return
    except TimeoutError:
        pass
    crashed = node.agent_starts - starts
    words = agent_trouble(node.spec.log_dir) or "no error is in its log"
    raise TransientError(
        f"terwayd on {node.name} was started but does not serve"
        f"{f', and has ended {crashed} times' if crashed else ''}; terwayd.log: {words}"
    )


async def _is_serving(node: NodeHandle) -> bool:
    if node.agent_pid is None:
        return False
    with suppress(OSError):
        # By way of a descriptor: the path may be longer than a socket's may.
        folder = os.open(node.inside(os.path.dirname(_SOCKET)), os.O_PATH | os.O_CLOEXEC)
        try:
            path = f"/proc/self/fd/{folder}/{os.path.basename(_SOCKET)}"
            _, writer = await asyncio.open_unix_connection(path)
        finally:
            os.close(folder)
        writer.close()
        return True
    return False
