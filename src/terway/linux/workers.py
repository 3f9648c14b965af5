"""The threads in which blocking kernel calls run, so that the event loop never waits for RTNL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# One waits for the RTNL lock while the other works; more would only spin on it. Measured with 20
# pods at once: four threads cost twice the system time of two and are no faster. On the loop
# itself, netlink holds it up for 109 ms at a time.
THREADS = 2


class Workers:
    """A small thread pool. Work that was begun is finished, also when its caller is cancelled."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="kernel")

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return what it returns.

        If cancelled, waits for the thread first: whoever cleans up after a cancelled ADD must
        not race with its second half.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait((future,))
            if not future.cancelled():
                future.exception()  # the caller has left; nobody else will look at it
            raise

    def close(self) -> None:
        """Wait for all work and end the threads."""
        self._pool.shutdown(wait=True)
