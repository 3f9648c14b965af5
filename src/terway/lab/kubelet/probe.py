"""Is a container well? One probe carried out, and what a row of answers means.

HTTP and TCP probes come from the node's network namespace, as a kubelet's do: they are traffic
from the node to the pod, and a network policy that blocks them breaks the pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import aiohttp

from terway.lab.kubelet.podspec import Container, Exec, HttpGet, Probe, TcpSocket
from terway.model.errors import VpcError

RunInside = Callable[[Sequence[str]], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one probe found; `message` says what went wrong."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a row of answers means; it changes only when a threshold is reached."""

    ok: bool
    successes: int = 0
    failures: int = 0

    def after(self, answer: Answer, probe: Probe) -> Verdict:
        """Return the verdict after one more answer."""
        if answer.ok:
            row = replace(self, successes=self.successes + 1, failures=0)
            return replace(row, ok=True) if row.successes >= probe.success_threshold else row
        row = replace(self, failures=self.failures + 1, successes=0)
        return replace(row, ok=False) if row.failures >= probe.failure_threshold else row


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """Carries out probes of one container. `run_inside` executes a command in it."""

    container: Container
    pod_ip: str
    http: aiohttp.ClientSession
    run_inside: RunInside

    async def ask(self, probe: Probe) -> Answer:
        """Carry out one probe within its timeout."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                return await self._ask(probe)
        except TimeoutError:
            return Answer(ok=False, message=f"no answer within {probe.timeout_seconds}s")
        except VpcError as error:
            return Answer(ok=False, message=str(error))

    async def _ask(self, probe: Probe) -> Answer:
        if probe.exec is not None:
            return await self._exec(probe.exec)
        if probe.http_get is not None:
            return await self.get(probe.http_get)
        if probe.tcp_socket is not None:
            return await self._connect(probe.tcp_socket)
        return Answer(ok=False, message="the probe has no handler")

    async def _exec(self, action: Exec) -> Answer:
        status, output = await self.run_inside(action.command)
        return Answer(ok=status == 0, message=output.decode(errors="replace").strip()[:1024])

    async def get(self, action: HttpGet) -> Answer:
        """Make an HTTP request; 200 to 399 is success."""
        host = action.host or self.pod_ip
        host = f"[{host}]" if ":" in host else host
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        url = f"{action.scheme.lower()}://{host}:{self.container.port(action.port)}{path}"
        headers = {"User-Agent": "kube-probe/1.32", "Connection": "close"}
        headers |= {header.name: header.value for header in action.http_headers}
        try:
            # Certificates are not verified by the kubelet either.
            async with self.http.get(url, headers=headers, ssl=False) as answer:
                ok = 200 <= answer.status < 400
                return Answer(ok=ok, message=f"HTTP probe failed with statuscode: {answer.status}")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(ok=False, message=f'Get "{url}": {error}')

    async def _connect(self, action: TcpSocket) -> Answer:
        host, port = action.host or self.pod_ip, self.container.port(action.port)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            return Answer(ok=False, message=f"dial tcp {host}:{port}: {error.strerror or error}")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return Answer(ok=True)
