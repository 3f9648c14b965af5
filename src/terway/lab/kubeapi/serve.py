"""On which sockets does the server listen?"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from terway.lab.kubeapi.cutting import cut

# A loop reads that a connection has ended, unwraps its TLS, closes, and says so.
_TURNS_TO_END = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One place to listen: a unix path, an address, or a socket somebody opened elsewhere.

    A `sock` may belong to another network namespace than the process: that is how the lab's
    one process serves inside the namespace of services. `port` 0 takes a free one.
    """

    app: web.Application
    unix_path: Path | None = None
    host: str = ""
    port: int = 0
    sock: socket.socket | None = None
    tls: ssl.SSLContext | None = None


def _site(runner: web.AppRunner, listener: Listener) -> web.BaseSite:
    if listener.unix_path is not None:
        listener.unix_path.unlink(missing_ok=True)
        return web.UnixSite(runner, str(listener.unix_path), ssl_context=listener.tls)
    if listener.sock is not None:
        return web.SockSite(runner, listener.sock, ssl_context=listener.tls)
    return web.TCPSite(runner, listener.host, listener.port, ssl_context=listener.tls)


@asynccontextmanager
async def open_listener(listener: Listener) -> AsyncIterator[int]:
    """Listen for the time of the block; give the port (0 for a unix socket).

    At the end open watches are told to finish, and connections closed.
    """
    # Handlers end when their client goes: an idle watch would not notice otherwise.
    runner = web.AppRunner(
        listener.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await _site(runner, listener).start()
        if listener.unix_path is not None:
            listener.unix_path.chmod(0o600)
            yield 0
        else:
            yield int(runner.addresses[0][1])
    finally:
        await _close(runner)
        if listener.unix_path is not None:
            listener.unix_path.unlink(missing_ok=True)


async def _close(runner: web.AppRunner) -> None:
    """End what is served, then cut each connection whose client does not let go of it.

    A TLS connection whose client only keeps it for later would wait 30 s for its farewell. It is
    cut at its socket, not by its transport: aiohttp closes some twice, and from then on abort()
    of asyncio's TLS fails (CPython 3.11: asyncio/sslproto.py forgets what it would abort).
    """
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in _take_ends(runner)]
        await runner.cleanup()
        for end in ends:
            with suppress(OSError):  # it has ended by itself
                end.shutdown(socket.SHUT_RDWR)
    for _ in range(_TURNS_TO_END):
        await asyncio.sleep(0)


def _take_ends(runner: web.AppRunner) -> Iterator[socket.socket]:
    """Yield a socket of our own for each connection; cut those that wait for a farewell."""
    for held in runner.server.connections if runner.server else ():
        if held.transport is None:
            continue
        if held.transport.is_closing():
            cut(held)
        else:
            # The number is valid: a connection that is not closing has an open socket.
            number = held.transport.get_extra_info("socket").fileno()
            yield socket.socket(fileno=os.dup(number))
