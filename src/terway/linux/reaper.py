"""How doomed links are deleted: many at once, a little later.

Deleting one veth waits for an RCU grace period under the RTNL lock (10 to 35 ms), and all others
wait with it; a group of fifty waits once (0.5 ms each). So DEL only moves its link into a group,
and the reaper deletes the group some tens of milliseconds later.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from terway.linux.apply import REAPED_GROUP
from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.workers import Workers

DELAY_S = 0.03


class Reaper:
    """Deletes the group of the doomed `delay_s` seconds after the first `wake`, and at the end."""

    def __init__(self, workers: Workers, *, delay_s: float = DELAY_S) -> None:
        self._workers = workers
        self._delay_s = delay_s
        self._woken = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._loop_task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that there is something to delete."""
        self._woken.set()

    async def __aenter__(self) -> Self:
        await self._flush()
        await self._tasks.__aenter__()
        self._loop_task = self._tasks.create_task(self._run(), name="reaper")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop_task is not None:
            self._loop_task.cancel()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # An error of the block goes out as it is: nobody outside knows that a task runs here.
            if group.exceptions != (error,):
                raise
        await self._flush()

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(self._delay_s)
            self._woken.clear()
            await self._flush()

    async def _flush(self) -> None:
        await self._workers.run(_delete_doomed)


def _delete_doomed() -> None:
    with open_route_socket() as sock:
        sock.request(link.delete_group(REAPED_GROUP))
