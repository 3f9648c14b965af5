"""A load balancer learns at which nodes a Service has endpoints."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from terway.agent.ebpf.entry_health import HealthPort, HealthPorts


def free_port() -> int:
    with closing(socket.create_server(("", 0))) as sock:
        port: int = sock.getsockname()[1]
        return port


async def ask(port: int, host: str = "127.0.0.1") -> tuple[int, dict[str, str], dict[str, object]]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /whatever HTTP/1.1\r\nHost: node\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, json.loads(body)


@asynccontextmanager
async def serving(ports: HealthPorts) -> AsyncIterator[None]:
    task = asyncio.create_task(ports.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("endpoints", "is_healthy", "status"),
    [(2, True, 200), (0, True, 503), (2, False, 503)],
)
async def test_the_answer_is_that_of_kube_proxy(endpoints, is_healthy, status):
    port = free_port()
    ports = HealthPorts(is_healthy=lambda: is_healthy)
    one = HealthPort(service="shop/web", port=port, local_endpoints=endpoints)
    async with serving(ports):
        ports.want({"shop/web": one})
        await ports.settled.wait()

        got, headers, body = await ask(port)

    assert got == status
    assert headers["X-Load-Balancing-Endpoint-Weight"] == str(endpoints)
    assert body == {
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": is_healthy,
    }


async def test_the_answer_follows_the_endpoints_while_the_port_stays_open():
    port = free_port()
    ports = HealthPorts(is_healthy=lambda: True)
    async with serving(ports):
        seen = []
        for endpoints in (1, 0, 3):
            ports.want({"a/b": HealthPort(service="a/b", port=port, local_endpoints=endpoints)})
            await ports.settled.wait()
            seen.append((await ask(port))[2]["localEndpoints"])

    assert seen == [1, 0, 3]


async def test_a_service_that_is_gone_is_answered_for_no_more():
    port = free_port()
    ports = HealthPorts(is_healthy=lambda: True)
    async with serving(ports):
        ports.want({"a/b": HealthPort(service="a/b", port=port, local_endpoints=1)})
        await ports.settled.wait()
        ports.want({})
        await ports.settled.wait()

        with pytest.raises(ConnectionRefusedError):
            await ask(port)


async def test_a_port_that_another_proxy_has_is_left_to_it_and_taken_later():
    ports = HealthPorts(is_healthy=lambda: True)
    with closing(socket.create_server(("", 0))) as other:
        port = other.getsockname()[1]
        wanted = {"a/b": HealthPort(service="a/b", port=port, local_endpoints=1)}
        async with serving(ports):
            ports.want(wanted)
            await ports.settled.wait()
            other.close()
            ports.want(wanted)
            await ports.settled.wait()

            assert (await ask(port))[0] == 200


async def test_a_prober_that_only_connects_harms_nobody():
    port = free_port()
    ports = HealthPorts(is_healthy=lambda: True)
    async with serving(ports):
        ports.want({"a/b": HealthPort(service="a/b", port=port, local_endpoints=1)})
        await ports.settled.wait()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

        assert (await ask(port))[0] == 200
