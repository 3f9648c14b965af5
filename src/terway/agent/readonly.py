"""The read-only listener: health, metrics and state, for tools and probes.

HTTP/1.0 of the smallest kind: GET, one answer, the end. A web framework would cost terwayd
3 MB for four pages.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from terway.agent.streams import Stream, StreamReaders
from terway.model.errors import UsageError

_READ_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[], Page]]
Streams = Mapping[str, Stream]

_NOT_FOUND = Page(body=b"not found\n", status=HTTPStatus.NOT_FOUND)
_NO_STREAMS: Streams = {}
_BAD_REQUEST = Page(body=b"only GET is answered\n", status=HTTPStatus.BAD_REQUEST)


@asynccontextmanager
async def open_readonly(
    listen: str, pages: Pages, streams: Streams = _NO_STREAMS
) -> AsyncIterator[None]:
    """Serve `pages` at ``unix:///path`` or ``tcp://host:port`` for the block.

    `streams` are pages without an end, by a unix socket alone: to read them costs the node
    something, and a port has no guard. Raises UsageError when `listen` is neither.
    """
    readers = StreamReaders()
    offered = streams if listen.startswith("unix://") else _NO_STREAMS

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            found = choose_stream(head, offered)
            if isinstance(found, Page):
                writer.write(encode_page(found))
            elif found is None:
                writer.write(encode_page(choose_page(head, pages)))
            else:
                await readers.send(found, reader, writer)
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that went away, or never was one
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=_bind(listen))
    try:
        yield
    finally:
        server.close()
        await readers.end()
        _unbind(listen)


def choose_stream(head: bytes, streams: Streams) -> AsyncGenerator[bytes, None] | Page | None:
    """Return what the request `head` is to be streamed; None: it is no stream that it asks for.

    A page says what is wrong with the request.
    """
    words = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split()
    if len(words) != 3 or words[0] != "GET":
        return None
    path, _, query = words[1].partition("?")
    if path not in streams:
        return None
    try:
        return streams[path](query)
    except UsageError as error:
        return Page(body=f"{error}\n".encode(), status=HTTPStatus.BAD_REQUEST)


def choose_page(head: bytes, pages: Pages) -> Page:
    """Return the page that the request `head` asks for."""
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or words[0] != b"GET":
        return _BAD_REQUEST
    page = pages.get(words[1].partition(b"?")[0].decode("ascii", "replace"))
    return page() if page else _NOT_FOUND


def encode_page(page: Page) -> bytes:
    """Return `page` as an HTTP answer."""
    head = (
        f"HTTP/1.0 {page.status.value} {page.status.phrase}\r\n"
        f"Content-Type: {page.content_type}\r\nContent-Length: {len(page.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + page.body


def _bind(listen: str) -> socket.socket:
    scheme, _, rest = listen.partition("://")
    if scheme == "unix" and rest:
        Path(rest).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(rest)
        Path(rest).chmod(0o600)
        return listener
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdigit():
        return socket.create_server((host.strip("[]"), int(port)))
    text = f"--readonly-listen {listen!r}: write unix:///path or tcp://host:port"
    raise UsageError(text, field="--readonly-listen")


def _unbind(listen: str) -> None:
    scheme, _, path = listen.partition("://")
    if scheme == "unix":
        Path(path).unlink(missing_ok=True)
