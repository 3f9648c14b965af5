"""How does one request reach the API server, and how does its answer come back?"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from terway.kube.connection import Connection
from terway.kube.errors import read_status, translate
from terway.model.errors import TransientError, UsageError

_READ_LIMIT_BYTES = 1 << 20
# A connection whose other end is out of reach is given up after some 10 s: who only listens would
# not notice for minutes. Probed when idle for so many seconds, so often apart, so many times.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}
_UNANSWERED_MS = 6_000  # data, or a probe


class Transport:
    """HTTP to one server with one identity. `open` the sockets, and `close` them at the end."""

    def __init__(self, connection: Connection, *, user_agent: str) -> None:
        self._connection = connection
        self._ssl = connection.ssl_context()
        self._base = "http://localhost" if connection.unix_path else connection.server
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Get ready to send; no connection is made yet."""
        path = self._connection.unix_path
        connector: aiohttp.BaseConnector
        if path is None:
            connector = aiohttp.TCPConnector(limit=0, socket_factory=made_socket)
        else:
            connector = aiohttp.UnixConnector(path=path, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=True, read_bufsize=_READ_LIMIT_BYTES
        )

    async def close(self) -> None:
        """Close all connections. Safe to repeat."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; give the answer while its body is read, the errors translated."""
        assert self._session is not None, "use: async with KubeClient(...)"
        tried = f"{method} {path}"
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                data=content,
                headers=self._headers_for(media_type if content is not None else ""),
                ssl=self._ssl or True,
                server_hostname=self._connection.server_hostname,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as answer:
                await _raise_for_status(answer, tried)
                yield answer
        except aiohttp.InvalidURL as error:
            raise UsageError(f"{tried}: {self._base!r} is not a URL", field="server") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"{tried} at {self._connection.server}: {_reason(error)}"
            raise TransientError(text) from error

    def _headers_for(self, media_type: str) -> dict[str, str]:
        headers = dict(self._headers)
        if media_type:
            headers["Content-Type"] = media_type
        if token := self._connection.bearer_token():
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _reason(error: aiohttp.ClientError | TimeoutError | OSError) -> str:
    """Return why there is no answer, for people: the library names its own objects, too."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # The event loop has words of its own for errors of the system; the resolver's are all.
        cause, number = error.os_error, error.os_error.errno or 0
        known = os.strerror(number) if number in errno.errorcode else cause.strerror
        return known or str(cause)
    return f"{type(error).__name__} {error}".rstrip()


def made_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that notices when nobody is there any more."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
    return made


async def _raise_for_status(answer: aiohttp.ClientResponse, tried: str) -> None:
    if answer.status < 400:
        return
    status = read_status(answer.status, await answer.read())
    if answer.status == 404 and not status.reason:
        status.reason = "NotFound"
    wait = answer.headers.get("Retry-After", "")
    raise translate(status, tried=tried, retry_after_s=float(wait) if wait.isdigit() else None)
