"""A page without an end is read as it grows, and ends with its reader or with terwayd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from terway.agent.readonly import Page, open_readonly
from terway.model.errors import UsageError


class Growing:
    """A stream that is fed by hand."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.asked: list[str] = []
        self.ended = asyncio.Event()

    def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        if query == "impossible":
            raise UsageError("query 'impossible': must be possible", field="query")
        self.asked.append(query)
        return self._lines()

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        try:
            while line := await self.lines.get():
                yield line
        finally:
            self.ended.set()


async def _ask(path: Path, page: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(f"GET {page} HTTP/1.0\r\n\r\n".encode())
    return reader, writer


@pytest.fixture
async def growing(tmp_path):
    made = Growing()
    pages = {"/healthz": lambda: Page(body=b"ok\n")}
    listen = f"unix://{tmp_path / 'debug.socket'}"
    async with open_readonly(listen, pages, {"/debug/flows": made.stream}):
        yield made, tmp_path / "debug.socket"


async def test_lines_come_as_they_are_made_until_there_are_no_more(growing):
    made, path = growing
    reader, writer = await _ask(path, "/debug/flows?last=3")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200 OK")
    for line in (b"one\n", b"two\n"):
        made.lines.put_nowait(line)
        assert await reader.readline() == line
    made.lines.put_nowait(b"")
    assert await reader.read() == b""
    assert made.asked == ["last=3"]
    writer.close()


async def test_a_reader_that_leaves_ends_its_stream(growing):
    made, path = growing
    reader, writer = await _ask(path, "/debug/flows")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    async with asyncio.timeout(5):
        await made.ended.wait()


async def test_the_end_of_the_listener_ends_its_streams(tmp_path):
    made = Growing()
    path = tmp_path / "debug.socket"
    async with open_readonly(f"unix://{path}", {}, {"/debug/flows": made.stream}):
        reader, writer = await _ask(path, "/debug/flows")
        await reader.readuntil(b"\r\n\r\n")
    assert made.ended.is_set() or not made.asked
    assert await reader.read() == b""
    writer.close()


async def test_what_cannot_be_streamed_is_said(growing):
    _made, path = growing
    reader, writer = await _ask(path, "/debug/flows?impossible")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"must be possible" in answer
    writer.close()


async def test_other_pages_are_as_before(growing):
    _made, path = growing
    for page, status in (("/healthz", b"200"), ("/debug/nothing", b"404")):
        reader, writer = await _ask(path, page)
        assert (await reader.read()).startswith(b"HTTP/1.0 " + status)
        writer.close()


async def test_by_a_port_there_are_no_streams():
    made = Growing()
    listen = "tcp://127.0.0.1:18083"
    async with open_readonly(listen, {}, {"/debug/flows": made.stream}):
        reader, writer = await asyncio.open_connection("127.0.0.1", 18083)
        writer.write(b"GET /debug/flows HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 404")
        writer.close()
