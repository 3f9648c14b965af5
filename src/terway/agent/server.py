"""The socket that the plugin talks to: one request and one reply per connection.

Reading and writing only. What a request means is the business of the `answer` that it is given.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from terway.cni.errors import CniError, Code, error_reply
from terway.cni.protocol import HEADER, Reply, Request, body_length, encode_reply, parse_request
from terway.cni.version import LATEST
from terway.model.errors import UsageError

Answer = Callable[[Request], Awaitable[Reply]]

# As many runs of the plugin may wait to be accepted; the kernel cuts it to net.core.somaxconn.
_BACKLOG = 4096


class _Connection(asyncio.Protocol):
    """Collects one request, starts its task, writes its reply."""

    def __init__(self, answer: Answer, tasks: asyncio.TaskGroup) -> None:
        self._answer = answer
        self._tasks = tasks
        self._received = bytearray()
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, they only have the methods.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            body = self._take_body()
            if body is not None:
                self._tasks.create_task(self._serve(parse_request(body)), name="cni request")
        except UsageError as error:
            self._reply(error_reply(CniError(Code.IO_FAILURE, str(error)), LATEST))

    def _take_body(self) -> bytes | None:
        """Return the request's body once it is whole, and only once."""
        if self._length is None and len(self._received) >= HEADER.size:
            self._length = body_length(self._received[: HEADER.size])
        if self._length is None or len(self._received) < HEADER.size + self._length:
            return None
        body = bytes(self._received[HEADER.size : HEADER.size + self._length])
        self._transport.pause_reading()
        self._received.clear()
        return body

    async def _serve(self, request: Request) -> None:
        # A runtime that gave up has closed the connection by now; the work is done all the same,
        # because a DEL follows, and finds a journal and a kernel that agree.
        try:
            self._reply(await self._answer(request))
        finally:
            self._transport.close()  # cut off without a reply: the plugin asks again

    def _reply(self, reply: Reply) -> None:
        self._transport.write(encode_reply(reply))
        self._transport.close()


@asynccontextmanager
async def open_server(path: Path, answer: Answer, *, grace_s: float = 5.0) -> AsyncIterator[None]:
    """Serve `answer` at `path` for the block; then let requests finish for up to `grace_s`.

    What is not finished by then is cancelled: it is as if terwayd had been killed, which every
    operation survives.
    """
    listener = _bind(path)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            server = await loop.create_unix_server(
                lambda: _Connection(answer, tasks), sock=listener, backlog=_BACKLOG
            )
            try:
                yield
            finally:
                server.close()
                limit.reschedule(loop.time() + grace_s)
    except TimeoutError:
        pass
    finally:
        _unbind(listener, path)


def _unbind(listener: socket.socket, path: Path) -> None:
    listener.close()
    path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    # The lock is ours, so a socket that is still there is a dead predecessor's. The new one
    # appears under its name with its mode, in one step.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(draft))
    draft.chmod(0o600)
    listener.listen(_BACKLOG)
    draft.rename(path)
    return listener
