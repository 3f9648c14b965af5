"""How does a server give up a connection at once, without farewell?"""

from __future__ import annotations

from aiohttp import web


def cut(held: web.RequestHandler) -> None:
    """Abort the connection, and have its handler forget it.

    A handler that knew it still would close it again, and a TLS connection of asyncio that was
    closed twice can no longer be aborted (CPython 3.11: asyncio/sslproto.py). So whoever finds
    a transport at a handler may abort it.
    """
    transport = held.transport
    if transport is not None:
        transport.abort()
        held.force_close()
