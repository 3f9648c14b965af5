"""What counts as a yes when a backend is asked: real sockets of this process, no lab."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from terway.lab.balancer.checking import Asker, ask
from terway.lab.cloud.balancer_records import HealthCheckRecord

LOCAL = ip_address("127.0.0.1")
ASKER = Asker(netns_path="/proc/self/ns/net", sources=(LOCAL,))
TCP = HealthCheckRecord(timeout_s=1)
HTTP = replace(TCP, kind="http", uri="/healthz", domain="shop.example")
UDP = replace(TCP, kind="udp")

pytestmark = pytest.mark.root  # entering a network namespace, even one's own


async def served(answer: bytes):
    """Serve `answer` to all; return the server, its port, and what it hears."""
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.read(1000))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], heard


@pytest.mark.parametrize(
    ("answer", "codes", "is_yes"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ("http_2xx",), True),
        (b"HTTP/1.1 503 Busy\r\n\r\n", ("http_2xx",), False),
        (b"HTTP/1.1 302 Found\r\n\r\n", ("http_2xx", "http_3xx"), True),
        (b"\xff\xfe \xff\xfe", ("http_2xx",), False),
        (b"", ("http_2xx",), False),
    ],
)
async def test_http_asks_for_the_class_of_the_status(answer, codes, is_yes):
    server, port, heard = await served(answer)
    async with server:
        assert await ask(ASKER, replace(HTTP, http_codes=codes), LOCAL, port) is is_yes

    assert heard[0].startswith(b"HEAD /healthz HTTP/1.0\r\nHost: shop.example\r\n")


async def test_tcp_is_content_with_a_connection():
    server, port, _ = await served(b"")
    async with server:
        assert await ask(ASKER, TCP, LOCAL, port)

    assert not await ask(ASKER, TCP, LOCAL, port)


async def test_udp_takes_silence_for_a_yes_and_unreachable_for_a_no():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert await ask(ASKER, UDP, LOCAL, port)
        assert not await ask(ASKER, replace(UDP, request="ping", expected="pong"), LOCAL, port)

    assert not await ask(ASKER, UDP, LOCAL, port)


async def test_nobody_is_asked_in_a_family_without_an_address_of_ours():
    assert not await ask(ASKER, TCP, ip_address("::1"), 80)
