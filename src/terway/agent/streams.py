"""Pages without an end: lines are sent as they come, until their reader leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

# Makes the lines that the query after the path asks for; UsageError says what is wrong with it.
Stream = Callable[[str], AsyncGenerator[bytes, None]]

_HEAD = (
    b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n"
)


class StreamReaders:
    """Those who read streams now."""

    def __init__(self) -> None:
        self._sending: set[asyncio.Task[None]] = set()

    async def send(
        self,
        lines: AsyncGenerator[bytes, None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send lines until there are no more, their reader closes, or all readers are ended."""
        writer.write(_HEAD)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(lines, writer), name="stream")
            leaving = tasks.create_task(_has_left(reader), name="stream reader")
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            leaving.cancel()

    async def end(self) -> None:
        """End what is being sent, and wait until it has ended."""
        sending = tuple(self._sending)
        for task in sending:
            task.cancel()
        if sending:
            await asyncio.wait(sending)


async def _send(lines: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    try:
        async with aclosing(lines):
            async for line in lines:
                writer.write(line)
                await writer.drain()  # a reader that is slow waits here, not in memory
    except OSError:
        pass  # it has left


async def _has_left(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1024):
            pass
    except OSError:
        pass
