"""What a listener of HTTP makes of requests, with real sockets and no cluster."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest

from terway.lab.balancer.checking import Asker
from terway.lab.balancer.http_heads import MalformedError
from terway.lab.balancer.http_proxy import HttpProxy
from terway.lab.balancer.http_streams import read_head
from terway.lab.cloud.balancer_records import HealthCheckRecord
from terway.lab.cloud.balancer_view import ForwardedServer, ForwardingListener
from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.http_view import RequestHandling
from terway.lab.world.waiting import PATIENCE_S
from terway.model.ids import VpcId

pytestmark = pytest.mark.root  # it enters its own namespace by name

HERE = IPv4Address("127.0.0.1")
ASKER = Asker(netns_path="/proc/self/ns/net", sources=(HERE,))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def backend(serve: Serve) -> AsyncIterator[ForwardedServer]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(closing, str(HERE), 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield ForwardedServer(address=HERE, port=port, weight=100)


@asynccontextmanager
async def proxy(*healthy: ForwardedServer, **http: Any) -> AsyncIterator[int]:
    """Open a listener, and yield its port."""
    listener = ForwardingListener(
        id="lb-1/http/80",
        vpc_id=VpcId("vpc-1"),
        address=HERE,
        protocol=6,
        port=80,
        scheduler="rr",
        check=HealthCheckRecord(is_on=False),
        servers=healthy,
        requests=RequestHandling(balancer_id="lb-1", http=HttpListenerRecord(**http)),
    )
    opened = HttpProxy(ASKER, listener)
    opened.become(listener, healthy)
    sock = socket.create_server((str(HERE), 0))
    await opened.open(sock, None)
    try:
        yield sock.getsockname()[1]
    finally:
        await opened.close()


async def said(port: int, *asked: bytes) -> bytes:
    """Send all that is asked on one connection, and return all that comes until its end."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(str(HERE), port)
        try:
            writer.write(b"".join(asked))
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the request's first line, in chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    line = head.split(b"\r\n")[0]
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line))
    await writer.drain()


CLOSING = b"GET /2 HTTP/1.1\r\nConnection: close\r\n\r\n"


async def test_a_connection_has_one_request_after_the_other() -> None:
    async with backend(echo) as one, proxy(one) as port:
        found = await said(port, b"GET /1 HTTP/1.1\r\n\r\n", CLOSING)

    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert found.index(b"GET /1") < found.index(b"GET /2")


async def test_who_waits_to_be_asked_for_its_body_is_asked() -> None:
    async def sized(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Expect" not in head
        body = await reader.readexactly(4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)

    asked = (
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    )
    async with backend(sized) as one, proxy(one) as port:
        found = await said(port, asked, b"cart")

    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert found.endswith(b"cart")


async def test_one_that_cannot_be_reached_is_passed_over() -> None:
    """Who dies between two health checks costs no request."""
    async with backend(echo) as gone:
        pass
    async with backend(echo) as one, proxy(gone, one) as port:
        found = [await said(port, CLOSING) for _ in range(2)]

    assert all(b"200 OK" in one for one in found)


@pytest.mark.parametrize("serves_wrongly", [False, True])
async def test_without_a_backend_that_answers_the_load_balancer_does(serves_wrongly: bool) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with backend(hang_up) as one, proxy(*((one,) if serves_wrongly else ())) as port:
        found = await said(port, CLOSING)

    assert found.startswith(b"HTTP/1.1 502 " if serves_wrongly else b"HTTP/1.1 503 ")


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("line", [b"-1\r\n", b"0x4\r\n", b"\r\n"])
async def test_a_body_in_chunks_of_no_size_comes_to_no_backend(line: bytes) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.set_result(await reader.read())

    async with backend(listen) as one, proxy(one) as port:
        assert (await said(port, CHUNKED + line)).startswith(b"HTTP/1.1 502 ")
        async with asyncio.timeout(PATIENCE_S):
            assert await heard == b""


async def test_a_line_that_does_not_end_is_no_head() -> None:
    reader = asyncio.StreamReader(limit=16)
    reader.feed_data(b"GET / HTTP/1.1\r\nX: aaaaaaaa")

    with pytest.raises(MalformedError):
        await read_head(reader)


async def test_an_answer_whose_body_ends_nowhere_is_none() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")

    async with backend(endless) as one, proxy(one) as port:
        assert (await said(port, CLOSING)).startswith(b"HTTP/1.1 502 ")


async def test_what_is_no_request_is_told_so() -> None:
    async with proxy() as port:
        assert (await said(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_backend_that_takes_too_long_is_not_waited_for() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the load balancer hangs up

    async with backend(wait) as one, proxy(one, request_s=1) as port:
        assert (await said(port, CLOSING)).startswith(b"HTTP/1.1 504 ")


async def test_another_protocol_is_passed_on_as_it_comes() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Fine\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        writer.write(await reader.readexactly(4))
        await writer.drain()

    asked = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    async with backend(talk) as one, proxy(one) as port:
        found = await said(port, asked, b"ping")

    assert found.startswith(b"HTTP/1.1 101 Fine")
    assert found.endswith(b"\r\n\r\nping")


async def test_closing_ends_connections_that_wait() -> None:
    async with proxy() as port:
        reader, writer = await asyncio.open_connection(str(HERE), port)
        # It is the listener's once it has been accepted: said to be by this answer.
        assert b"400" in await said(port, b"?\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
