"""Traffic of a pod that must notice nothing: a TCP stream, and datagrams of which none is lost.

Both ends are sockets of this process, opened inside the two namespaces.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from terway.model.address import IPAddress
from tests.support.netns import ScratchNetns
from tests.support.streams import Lockstep, lockstep

_LOST_S = 30.0


def _socket(netns: str, kind: socket.SocketKind, family: int) -> socket.socket:
    with ScratchNetns(netns).entered():
        made = socket.socket(family, kind)
    made.setblocking(False)
    return made


@dataclass
class Stream:
    """One TCP connection that carries a word there and back, again and again."""

    count: int = 0
    came_back: asyncio.Event = field(default_factory=asyncio.Event)

    async def advance(self, more: int = 20) -> None:
        """Wait until so many more words have come back."""
        wanted = self.count + more
        async with asyncio.timeout(_LOST_S * 2):
            while self.count < wanted:
                self.came_back.clear()
                await self.came_back.wait()


@dataclass
class Traffic:
    """What goes on between a pod and somebody."""

    stream: Stream
    datagrams: Lockstep

    async def goes_on(self) -> None:
        """Wait until both have carried more."""
        await self.stream.advance()
        await self.datagrams.advance()


@asynccontextmanager
async def traffic(
    pod: str, other: str, address: IPAddress, *, pause_s: float = 0.0
) -> AsyncIterator[Traffic]:
    """Keep both going from namespace `pod` to `address`, which is in namespace `other`.

    `pause_s` between two words leaves the processor to a lab that has more to do.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    async with AsyncExitStack() as stack:
        sockets = {
            name: stack.enter_context(_socket(where, kind, family))
            for name, where, kind in (
                ("server", other, socket.SOCK_STREAM),
                ("client", pod, socket.SOCK_STREAM),
                ("echo", other, socket.SOCK_DGRAM),
                ("asker", pod, socket.SOCK_DGRAM),
            )
        }
        sockets["server"].bind((str(address), 0))
        sockets["server"].listen()
        sockets["echo"].bind((str(address), 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sockets["client"], sockets["server"].getsockname()[:2])
        accepted, _ = await loop.sock_accept(sockets["server"])
        accepted.setblocking(False)
        stack.enter_context(accepted)
        port = sockets["echo"].getsockname()[1]
        flow = lockstep(sockets["asker"], sockets["echo"], (address, port), pause_s=pause_s)
        datagrams = await stack.enter_async_context(flow)
        stream = Stream()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [
            tasks.create_task(_echo(accepted)),
            tasks.create_task(_ask(stream, sockets["client"], pause_s)),
        ]
        yield Traffic(stream=stream, datagrams=datagrams)
        for task in running:
            task.cancel()


async def _echo(accepted: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(accepted, 64):
        await loop.sock_sendall(accepted, data)
    raise AssertionError("the stream ended")


async def _ask(stream: Stream, client: socket.socket, pause_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await loop.sock_sendall(client, b"word")
        async with asyncio.timeout(_LOST_S):
            assert await loop.sock_recv(client, 64) == b"word"
        stream.count += 1
        stream.came_back.set()
        if pause_s:
            await asyncio.sleep(pause_s)
