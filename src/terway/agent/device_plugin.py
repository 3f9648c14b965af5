"""How does the kubelet know how many pods with ENIs of their own a node can have? A device plugin.

    kubelet.sock ◄─ Register: resource, our socket ─ plugin ◄─ ListAndWatch, Allocate ─ kubelet
        │ a kubelet that starts makes it anew, and removes all others: registered again

Each resource has a socket and a registration of its own. Nothing is handed over at Allocate: it is
the scheduler that needs the number. Source: upstream's deviceplugin/; Kubernetes, "Device Plugins".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Server, Stream

from terway.agent.device_plugin_wire import (
    ALLOCATE,
    LIST_AND_WATCH,
    OPTIONS,
    PRE_START,
    PREFERRED,
    REGISTER,
    AllocateRequest,
    AllocateResponse,
    Codec,
    Devices,
    Empty,
    RegisterRequest,
    device_ids,
)

KUBELET = "kubelet.sock"
LOOK_EVERY_S = 5.0
_REGISTERED_WITHIN_S = 10.0
_FAILURES = (OSError, GRPCError, ProtocolError, StreamTerminatedError, TimeoutError)

_log = structlog.get_logger("device_plugin")


class DevicePlugin:
    """One resource of the node. `count` says how many there are now.

    `run` serves it until cancelled, and registers it with every kubelet that comes. Changes of
    the number, and kubelets, are noticed within `look_every_s`.
    """

    def __init__(
        self,
        resource: str,
        count: Callable[[], int],
        *,
        folder: Path,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._resource = resource
        self._count = count
        self._folder = folder
        self._look_every_s = look_every_s
        self._socket = folder / f"terway-{resource.rpartition('/')[2]}.sock"

    async def run(self) -> None:
        """Serve until cancelled; a kubelet that is away is waited for."""
        while True:
            with suppress(FileNotFoundError):  # a node without kubelet, or before it
                async with self._served():
                    await self._register_while_served()
            await asyncio.sleep(self._look_every_s)

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[None]:
        self._socket.unlink(missing_ok=True)
        server = Server([self], codec=Codec())
        await server.start(path=str(self._socket))
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            self._socket.unlink(missing_ok=True)

    async def _register_while_served(self) -> None:
        """Register with each kubelet in turn; return when our socket is gone."""
        known: object = None
        while self._socket.exists():
            kubelet = _identity(self._folder / KUBELET)
            if kubelet not in (None, known) and await self._register():
                known = kubelet
            await asyncio.sleep(self._look_every_s)

    async def _register(self) -> bool:
        request = RegisterRequest(endpoint=self._socket.name, resource=self._resource)
        try:
            async with (
                asyncio.timeout(_REGISTERED_WITHIN_S),
                Channel(path=str(self._folder / KUBELET), codec=Codec()) as channel,
            ):
                method = UnaryUnaryMethod(channel, REGISTER, RegisterRequest, Empty)
                await method(request)
        except _FAILURES as error:
            _log.warning("device_plugin.refused", resource=self._resource, error=repr(error))
            return False
        _log.info("device_plugin.registered", resource=self._resource, count=self._count())
        return True

    async def _list(self, stream: Stream[Empty, Devices]) -> None:
        await stream.recv_message()
        told: int | None = None
        while True:
            count = self._count()
            if count != told:
                ids = tuple(device_ids(self._resource, count))
                await stream.send_message(Devices(ids=ids))
                told = count
            await asyncio.sleep(self._look_every_s)

    async def _allocate(self, stream: Stream[AllocateRequest, AllocateResponse]) -> None:
        request = await stream.recv_message()
        containers = 0 if request is None else len(request.containers)
        await stream.send_message(AllocateResponse(containers=containers))

    async def _nothing(self, stream: Stream[Empty, Empty]) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    def __mapping__(self) -> dict[str, Handler]:
        """Return what answers which call, as grpclib asks its services."""
        nothing = Handler(self._nothing, Cardinality.UNARY_UNARY, Empty, Empty)
        return {
            OPTIONS: nothing,
            PREFERRED: nothing,
            PRE_START: nothing,
            LIST_AND_WATCH: Handler(self._list, Cardinality.UNARY_STREAM, Empty, Devices),
            ALLOCATE: Handler(
                self._allocate, Cardinality.UNARY_UNARY, AllocateRequest, AllocateResponse
            ),
        }


def _identity(path: Path) -> object:
    """Return what tells one socket from the next of the name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_ctime_ns)
