"""Who keeps terwayd running on a node? What the DaemonSet and its restart policy do elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

_FIRST_RESTART_S = 0.2
_LONGEST_WAIT_S = 30.0
_STEADY_S = 30.0  # who ran so long is restarted at once the next time
_STOP_GRACE_S = 10.0


class Running(Protocol):
    """A process, seen from outside of it."""

    pid: int

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        ...

    async def wait(self) -> int:
        """Return the exit status once it has ended."""
        ...

    async def kill(self, signal_number: int) -> None:
        """Send a signal, if it still runs."""
        ...


class Spawner(Protocol):
    """Who starts processes."""

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], stdio: tuple[int, int, int]
    ) -> Running:
        """Start `argv`; the caller keeps its copies of `stdio`."""
        ...


class Supervisor:
    """Keeps one program running; its output goes to a file."""

    def __init__(
        self,
        spawner: Spawner,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: str,
        changed: Callable[[int | None], None],
    ) -> None:
        self._spawner = spawner
        self._argv = argv
        self._env = env
        self._log_path = log_path
        self._changed = changed
        self._process: Running | None = None
        self._again = asyncio.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Return the process id on the node, None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.is_running else None

    async def run(self) -> None:
        """Start it, and start it again whenever it ends, until cancelled."""
        wait_s = 0.0
        while True:
            began = time.monotonic()
            self._process = await self._start()
            self._changed(self._process.pid)
            await self._process.wait()
            self._changed(None)
            self.restarts += 1
            steady = time.monotonic() - began > _STEADY_S
            wait_s = _FIRST_RESTART_S if steady or not wait_s else min(wait_s * 2, _LONGEST_WAIT_S)
            await self._pause(wait_s)

    async def kill(self) -> None:
        """Kill it as a crash would; it is started again without a wait."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stop it in order and have it started again; returns when the old one has ended."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        process = self._process
        if process is None:
            return
        self._again.set()
        await process.kill(number)
        try:
            async with asyncio.timeout(_STOP_GRACE_S):
                await process.wait()
        except TimeoutError:
            await process.kill(signal.SIGKILL)

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._again.wait()
        except TimeoutError:
            return
        finally:
            self._again.clear()

    async def _start(self) -> Running:
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            return await self._spawner.run(self._argv, env=self._env, stdio=(null, log, log))
        finally:
            os.close(null)
            os.close(log)
