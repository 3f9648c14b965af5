"""How do heads and bodies of HTTP/1 go from one connection to another?"""

from __future__ import annotations

import asyncio
import re

from terway.lab.balancer.http_heads import End, Framing, Head, MalformedError, parse_head

_PIECE_BYTES = 65536
_END_OF_LINE = b"\r\n"
_END_OF_HEAD = _END_OF_LINE * 2
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*[;\r]")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Return the next head. Raises MalformedError, IncompleteReadError at the end, and OSError."""
    return parse_head(await _read_until(reader, _END_OF_HEAD))


async def relay_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: Framing
) -> None:
    """Pass on a body as it is. Raises as `read_head` does."""
    match framing:
        case End.CHUNKED:
            await _relay_chunks(reader, writer)
        case End.CLOSE:
            await relay_all(reader, writer)
        case length:
            await _relay_bytes(reader, writer, length)


async def relay_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on whatever comes, until its end."""
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


async def _relay_bytes(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int
) -> None:
    while length:
        piece = await reader.read(min(length, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        writer.write(piece)
        await writer.drain()
        length -= len(piece)


async def _relay_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = 1
    while size:
        line = await _read_until(reader, _END_OF_LINE)
        found = _CHUNK.match(line)
        if found is None:
            raise MalformedError(f"no size of a chunk: {line!r}")
        writer.write(line)
        size = int(found[1], 16)
        await _relay_bytes(reader, writer, size + 2 if size else 0)
    while (line := await _read_until(reader, _END_OF_LINE)) != _END_OF_LINE:  # trailers
        writer.write(line)
    writer.write(line)
    await writer.drain()


async def _read_until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return await reader.readuntil(end)
    except asyncio.LimitOverrunError as error:
        raise MalformedError(str(error)) from error
