"""Where does a command run, and what did it answer?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A set of namespaces, named by the words that enter them (``nsenter …``); none: our own."""

    enter: tuple[str, ...] = ()

    def on_core(self, core: int) -> Place:
        """Return the same place with everything in it pinned to one core.

        Latency between two idle cores is the time to wake the second one; pinned, it is the
        path's own.
        """
        return Place(enter=(*self.enter, "taskset", "-c", str(core)))

    def with_env(self, **variables: str) -> Place:
        """Return the same place with these variables set for everything in it."""
        return Place(enter=(*self.enter, "env", *(f"{k}={v}" for k, v in variables.items())))

    def in_netns(self, path: str) -> Place:
        """Return the network namespace at `path`, as this place sees it, with all else the same."""
        return Place(enter=(*self.enter, "nsenter", f"--net={path}", "--"))

    async def run(self, *argv: str, stdin: str = "") -> str:
        """Run a command to its end and return its output; raise when it fails."""
        process = await asyncio.create_subprocess_exec(
            *self.enter,
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        if process.returncode != 0:
            said = f"{out.decode()[-800:]}\n{err.decode()[-800:]}".strip()
            raise CommandError(argv, process.returncode or 0, said)
        return out.decode()

    @asynccontextmanager
    async def server(self, *argv: str, ready: str) -> AsyncIterator[Server]:
        """Keep a command running; enter once it has printed `ready`, and end it on leaving.

        The kernel ends it: `nsenter` into a PID namespace stays the parent of what it starts and
        passes no signals on, so that what it starts asks to be killed when its parent goes.
        """
        process = await asyncio.create_subprocess_exec(
            *self.enter,
            *("setpriv", "--pdeathsig", "KILL"),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        server = Server(process, argv)
        try:
            await server.has_said(ready)
        except BaseException:
            server.kill()
            await process.wait()
            raise
        # Not a TaskGroup: it would wrap what fails in the block into a group.
        draining = asyncio.create_task(server.drain())
        try:
            yield server
        finally:
            server.kill()
            await draining
            await process.wait()


class Server:
    """A command that keeps running."""

    def __init__(self, process: asyncio.subprocess.Process, argv: Sequence[str]) -> None:
        self._process = process
        self._argv = argv
        self.said: list[str] = []

    async def has_said(self, word: str) -> None:
        """Wait for a line with `word` in it; at most 60 s."""
        async with asyncio.timeout(60):
            while await self._read_line():
                if word in self.said[-1]:
                    return
        said = f"ended before it said {word!r}: {''.join(self.said[-20:])}"
        raise CommandError(self._argv, await self._process.wait(), said)

    async def drain(self) -> None:
        """Keep reading, so that the command never waits for us."""
        while await self._read_line():
            pass

    async def ended(self) -> int:
        """Wait until it has ended by itself, at most 20 s, and return its exit status."""
        async with asyncio.timeout(20):
            return await self._process.wait()

    def kill(self) -> None:
        """Kill it if it still runs."""
        if self._process.returncode is None:
            self._process.kill()

    async def _read_line(self) -> bool:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        self.said.append(line.decode())
        return bool(line)


class CommandError(Exception):
    """A command failed: which, how, and its last words."""

    def __init__(self, argv: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"{' '.join(argv)}: exit status {status}: {said}")
        self.status = status
        self.said = said
