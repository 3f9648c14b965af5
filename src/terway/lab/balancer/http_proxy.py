"""How does one listener of HTTP or HTTPS carry requests? A server in the load balancer's name.

client ══ TLS, if it has a certificate ══► request ─► a backend, by a connection of its own
                                           answer  ◄─ (closed after it: who leaves has no next one)

The client's address is the real one; backends see the load balancers' own, and the client's in
X-Forwarded-For.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address

from terway.lab.balancer.checking import Asker
from terway.lab.balancer.http_changes import (
    Exchange,
    asked_mark,
    for_backend,
    for_client,
    led_on,
    mark_of,
    own_answer,
)
from terway.lab.balancer.http_choice import Turns
from terway.lab.balancer.http_heads import (
    End,
    Head,
    MalformedError,
    request_framing,
    response_framing,
)
from terway.lab.balancer.http_streams import read_head, relay_all, relay_body
from terway.lab.cloud.balancer_view import ForwardedServer, ForwardingListener
from terway.lab.world.sockets import connect_in

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CONNECT_S = 5.0
_GOODBYE_S = 1.0  # how long a client's end of TLS is waited for
_LOST = (OSError, asyncio.IncompleteReadError, TimeoutError, MalformedError)


class HttpProxy:
    """A listener. `become` says what it is from the next request on."""

    def __init__(self, asker: Asker, listener: ForwardingListener) -> None:
        self._asker = asker
        self._listener = listener
        self._healthy: tuple[ForwardedServer, ...] = ()
        self._turns = Turns()
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._is_closed = False

    def become(self, listener: ForwardingListener, healthy: Iterable[ForwardedServer]) -> None:
        """Have the next requests meet these settings and backends."""
        self._listener, self._healthy = listener, tuple(healthy)

    async def open(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take connections from a listening socket, which is ours from here on."""
        self._server = await asyncio.start_server(
            self._serve,
            sock=sock,
            ssl=tls,
            ssl_shutdown_timeout=None if tls is None else _GOODBYE_S,
            start_serving=False,  # no wait before it is ours to close
        )
        await self._server.start_serving()

    async def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            if self._is_closed:  # it was accepted just before, or has spoken TLS until now
                raise asyncio.CancelledError
            with suppress(*_LOST):
                await self._talk(reader, writer)
            await _close(writer)
        except BaseException:
            writer.transport.abort()  # whoever does not listen must keep nobody waiting
            raise
        finally:
            self._handlers.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other, for as long as the client goes on."""
        client, client_port = writer.get_extra_info("peername")[:2]
        goes_on = True
        while goes_on:
            handling = self._listener.requests
            assert handling is not None
            async with asyncio.timeout(handling.http.idle_s):
                request = await _read_request(reader, writer)
            about = Exchange(
                client=ip_address(client),
                client_port=client_port,
                address=self._listener.address,
                port=self._listener.port,
                handling=handling,
            )
            if handling.http.redirect_port:
                await _send(writer, led_on(request, about))
                return
            goes_on = await self._exchange(request, about, (reader, writer))

    async def _exchange(self, request: Head, about: Exchange, client: Streams) -> bool:
        """Have a backend answer; return whether the client may ask more."""
        mark = asked_mark(request, about.handling.http)
        is_even = self._listener.scheduler == "rr"
        order = self._turns.order(self._healthy, mark=mark, is_even=is_even)
        if not order:
            await _send(client[1], own_answer(HTTPStatus.SERVICE_UNAVAILABLE))
            return False
        for server in order:  # nothing was said to one that cannot be reached
            backend = await self._connect(server)
            if backend is not None:
                try:
                    return await _carry(request, about, server, client, backend)
                finally:
                    await _close(backend[1])
        await _send(client[1], own_answer(HTTPStatus.BAD_GATEWAY))
        return False

    async def _connect(self, server: ForwardedServer) -> Streams | None:
        source = self._asker.source_for(server.address)
        if source is None:
            return None
        try:
            async with asyncio.timeout(_CONNECT_S):
                return await connect_in(
                    self._asker.netns_path, str(server.address), server.port, source=source
                )
        except (OSError, TimeoutError):
            return None


async def _carry(
    request: Head, about: Exchange, server: ForwardedServer, client: Streams, backend: Streams
) -> bool:
    (from_client, to_client), (from_backend, to_backend) = client, backend
    http = about.handling.http
    try:
        async with asyncio.timeout(http.request_s):
            to_backend.write(for_backend(request, about).encode())
            await relay_body(from_client, to_backend, request_framing(request))
            answer = await _read_answer(from_backend)
        framing = response_framing(answer, request.method)
    except TimeoutError:
        await _send(to_client, own_answer(HTTPStatus.GATEWAY_TIMEOUT))
        return False
    except _LOST:
        await _send(to_client, own_answer(HTTPStatus.BAD_GATEWAY))
        return False
    if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
        await _tunnel(answer, client, backend)
        return False
    stays_open = request.stays_open and framing is not End.CLOSE
    mark = mark_of(server.address, server.port)
    to_client.write(for_client(answer, http, mark, stays_open=stays_open).encode())
    await relay_body(from_backend, to_client, framing)
    await to_client.drain()
    return stays_open


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Head:
    try:
        request = await read_head(reader)
        request_framing(request)
    except MalformedError:
        await _send(writer, own_answer(HTTPStatus.BAD_REQUEST))
        raise
    if "100-continue" in request.tokens("Expect"):
        await _send(writer, Head(line="HTTP/1.1 100 Continue"))
    return request


async def _read_answer(reader: asyncio.StreamReader) -> Head:
    """Return the answer, what was said before it left out."""
    answer = await read_head(reader)
    while answer.status < 200 and answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        answer = await read_head(reader)
    return answer


async def _tunnel(answer: Head, client: Streams, backend: Streams) -> None:
    """Pass on whatever both say, until one of them ends."""
    await _send(client[1], answer)
    both = (relay_all(client[0], backend[1]), relay_all(backend[0], client[1]))
    ways = [asyncio.ensure_future(one) for one in both]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, head: Head) -> None:
    writer.write(head.encode())
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
