"""Packets that go on while something changes: one flow of which none may be lost, one barred."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from terway.model.address import IPAddress

_ASKED_AGAIN_S = 1.0
_LOST_S = 30.0  # a datagram that is answered so late was lost
_SIZE = 64


@dataclass(slots=True)
class Lockstep:
    """Datagrams there and back, one after the other. `count` is how many have come back."""

    count: int = 0
    pause_s: float = 0.0
    came_back: asyncio.Event = field(default_factory=asyncio.Event)

    async def advance(self, more: int = 20) -> None:
        """Wait until so many more have come back."""
        wanted = self.count + more
        async with asyncio.timeout(_LOST_S * 2):
            while self.count < wanted:
                self.came_back.clear()
                await self.came_back.wait()


@asynccontextmanager
async def lockstep(
    client: socket.socket,
    server: socket.socket,
    target: tuple[IPAddress, int],
    *,
    asks_again: bool = False,
    pause_s: float = 0.0,
) -> AsyncIterator[Lockstep]:
    """Keep datagrams going between two sockets; an ExceptionGroup when one of them is lost.

    With `asks_again` one that is lost is sent again after a second, and is no failure. `pause_s`
    between two of them leaves the processor to a lab that has more to do.
    """
    flow = Lockstep(pause_s=pause_s)
    ask = _ask_again if asks_again else _ask
    async with asyncio.TaskGroup() as tasks:
        running = (
            tasks.create_task(_echo(server)),
            tasks.create_task(ask(flow, client, (str(target[0]), target[1]))),
        )
        yield flow
        for task in running:
            task.cancel()


async def _echo(server: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        data, peer = await loop.sock_recvfrom(server, _SIZE)
        await loop.sock_sendto(server, data, peer)


async def _ask(flow: Lockstep, client: socket.socket, target: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        token = f"{flow.count}".encode()
        await loop.sock_sendto(client, token, target)
        try:
            async with asyncio.timeout(_LOST_S):
                answer = await loop.sock_recv(client, _SIZE)
        except TimeoutError:
            raise AssertionError(f"datagram {flow.count} was lost") from None
        assert answer == token, f"{answer!r} came for {token!r}"
        flow.count += 1
        flow.came_back.set()
        await asyncio.sleep(flow.pause_s)


async def _ask_again(flow: Lockstep, client: socket.socket, target: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        token = f"{flow.count}".encode()
        with suppress(TimeoutError, PermissionError):
            await loop.sock_sendto(client, token, target)
            async with asyncio.timeout(_ASKED_AGAIN_S):
                while await loop.sock_recv(client, _SIZE) != token:
                    pass  # an answer to what was asked twice
            flow.count += 1
            flow.came_back.set()
        # At least a turn: what the sender's own filter forbids is told without waiting.
        await asyncio.sleep(flow.pause_s)


@asynccontextmanager
async def spray(client: socket.socket, target: tuple[IPAddress, int]) -> AsyncIterator[None]:
    """Keep sending datagrams that nobody is to get."""

    async def send() -> None:
        while True:
            with suppress(BlockingIOError, PermissionError):  # the sender's own filter may say so
                client.sendto(b"barred", (str(target[0]), target[1]))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send())
        yield
        sending.cancel()
