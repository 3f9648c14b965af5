"""The kubelet's side of device plugins: a real gRPC server at kubelet.sock, a client of plugins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from terway.agent.device_plugin import KUBELET
from terway.agent.device_plugin_wire import (
    ALLOCATE,
    LIST_AND_WATCH,
    REGISTER,
    AllocateRequest,
    AllocateResponse,
    Codec,
    Devices,
    Empty,
    RegisterRequest,
)


class FakeKubelet:
    """A kubelet, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.registered: asyncio.Queue[RegisterRequest] = asyncio.Queue()

    async def _register(self, stream: Stream[RegisterRequest, Empty]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.registered.put_nowait(request)
        await stream.send_message(Empty())

    def __mapping__(self) -> dict[str, Handler]:
        """Say which call is ours."""
        return {REGISTER: Handler(self._register, Cardinality.UNARY_UNARY, RegisterRequest, Empty)}

    @asynccontextmanager
    async def plugin(self, request: RegisterRequest) -> AsyncIterator[Channel]:
        """Be connected with the plugin that registered."""
        async with Channel(path=str(self._folder / request.endpoint), codec=Codec()) as channel:
            yield channel


@asynccontextmanager
async def fake_kubelet(folder: Path) -> AsyncIterator[FakeKubelet]:
    """Be a kubelet for the block: a start of it removes all sockets of the folder."""
    _clear(folder)
    made = FakeKubelet(folder)
    server = Server([made], codec=Codec())
    await server.start(path=str(folder / KUBELET))
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in folder.glob("*.sock"):
        one.unlink()


@asynccontextmanager
async def listed(channel: Channel) -> AsyncIterator[AsyncIterator[tuple[str, ...]]]:
    """Have the devices told for the block, as they change."""
    method = UnaryStreamMethod(channel, LIST_AND_WATCH, Empty, Devices)
    async with method.open() as stream:
        await stream.send_message(Empty(), end=True)

        async def told() -> AsyncIterator[tuple[str, ...]]:
            while (found := await stream.recv_message()) is not None:
                yield found.ids

        yield told()
        await stream.cancel()


async def allocate(channel: Channel, *containers: tuple[str, ...]) -> int:
    """Allocate devices; return for how many containers there was an answer."""
    method = UnaryUnaryMethod(channel, ALLOCATE, AllocateRequest, AllocateResponse)
    return (await method(AllocateRequest(containers=containers))).containers
