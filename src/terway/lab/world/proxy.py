"""How do nodes reach an API server outside the lab? A TCP proxy where the inside one would be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


@asynccontextmanager
async def open_proxy(listener: socket.socket, server_url: str) -> AsyncIterator[None]:
    """Forward each connection to `listener` to the host and port of `server_url`."""
    parts = urlsplit(server_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_in, there_out = await asyncio.open_connection(parts.hostname, port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, there_out))
            tasks.create_task(_pump(there_in, writer))

    server = await asyncio.start_server(forward, sock=listener)
    try:
        yield
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
