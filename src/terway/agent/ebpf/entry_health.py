"""Has this node endpoints of a Service? What load balancers ask at its healthCheckNodePort.

A Service with externalTrafficPolicy Local must only be asked at nodes that have an endpoint of it.
So each such Service has a port at which every node answers, 200 or 503, as kube-proxy does:

    {"service": {"namespace": …, "name": …}, "localEndpoints": 2, "serviceProxyHealthy": true}

Source: kubernetes/pkg/proxy/healthcheck/service_health.go, v1.34.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
import structlog

_READ_TIMEOUT_S = 5.0
_HEAD_BYTES = 8192

_log = structlog.get_logger("services")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPort:
    """What is answered for one Service, ``namespace/name``."""

    service: str
    port: int
    local_endpoints: int

    def answer(self, *, is_healthy: bool) -> bytes:
        """Return the HTTP answer; `is_healthy`: what the maps say is what the API says."""
        namespace, _, name = self.service.partition("/")
        body = msgspec.json.encode(
            {
                "service": {"namespace": namespace, "name": name},
                "localEndpoints": self.local_endpoints,
                "serviceProxyHealthy": is_healthy,
            }
        )
        is_good = is_healthy and self.local_endpoints > 0
        status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Load-Balancing-Endpoint-Weight: {self.local_endpoints}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


class HealthPorts:
    """The listeners, one for each port that is wanted."""

    def __init__(self, *, is_healthy: Callable[[], bool]) -> None:
        self._is_healthy = is_healthy
        self._wanted: dict[int, HealthPort] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._changed = asyncio.Event()
        self._refused: set[int] = set()
        self.settled = asyncio.Event()
        """Set while every port that is wanted, and could be had, is served."""

    def want(self, ports: Mapping[str, HealthPort]) -> None:
        """Have these served from now on, and no others. By Service."""
        self._wanted = {one.port: one for one in ports.values()}
        self.settled.clear()
        self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._follow()
                self.settled.set()
        finally:
            for server in self._servers.values():
                server.close()

    async def _follow(self) -> None:
        for port in self._servers.keys() - self._wanted.keys():
            self._servers.pop(port).close()
        self._refused &= self._wanted.keys()
        for port in sorted(self._wanted.keys() - self._servers.keys()):
            await self._open(port)

    async def _open(self, port: int) -> None:
        try:
            listener = _listen(port)
        except OSError as error:
            # Another proxy's, mostly. It is tried again with the next change.
            if port not in self._refused:
                self._refused.add(port)
                service = self._wanted[port].service
                _log.warning(
                    "services.health_port_taken", service=service, port=port, error=str(error)
                )
            return
        self._refused.discard(port)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(port, reader, writer)

        self._servers[port] = await asyncio.start_server(serve, sock=listener, limit=_HEAD_BYTES)

    async def _serve(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                await reader.readuntil(b"\r\n\r\n")
                wanted = self._wanted.get(port)
                if wanted is not None:
                    writer.write(wanted.answer(is_healthy=self._is_healthy()))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a prober that only connects, or went away
        finally:
            writer.close()


def _listen(port: int) -> socket.socket:
    """Return a listener at every address of the node, of both families where it has both."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
