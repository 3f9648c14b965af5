"""Services of this node, put together: heard of, compiled, in the maps, told.

    View ─► Compiler ─► operations ─► maps of the data path        one turn at a time, in a thread
              ▲ Memory: what the last terwayd left

The maps are what the API says a moment after it says so. While the API server is away they stay as
they are. A map that is full leaves services out, by name, and serves the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog

from terway.agent.readonly import Pages
from terway.agent.service import pages
from terway.agent.service.maps import SIZE_KEY, ServiceMaps
from terway.agent.service.view import View
from terway.kube.client import KubeClient
from terway.linux.workers import Workers
from terway.model.errors import VpcError
from terway.model.exposition import Counter, Gauge, Histogram, Metric
from terway.model.ids import NodeName
from terway.service.changes import Delete, MapOperation
from terway.service.compiler import Compiler
from terway.service.contents import Table, unpack_number
from terway.service.values import Here

AT_ONCE = 2000  # changes in one turn: 50 ms, and some MB of operations
GATHER_S = 0.001  # what comes together is compiled together
RETRY_S = 1.0
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

_log = structlog.get_logger("services")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What others hear of a turn: backends that are gone, and what health check ports answer."""

    gone: tuple[int, ...]
    health: Mapping[str, tuple[int, int]]  # service: port, ready endpoints of this node


class ServiceProxy:
    """Has the services of the cluster led to their endpoints by the data path of this node."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        maps: ServiceMaps,
        *,
        now: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
        retry_s: float = RETRY_S,
    ) -> None:
        rng = Random()  # noqa: S311 - waits are drawn from it, not secrets
        self._node = node
        self._maps = maps
        self._at_once = at_once
        self._retry_s = retry_s
        self._now = now
        self._workers = Workers(1)
        self._compiler: Compiler | None = None
        self._left_out: frozenset[str] = frozenset()
        self.trouble = ""  # why the maps are not what the API says; empty: they are
        self.filled = asyncio.Event()
        self.on_turn: Callable[[Told], None] = lambda told: None
        self.others: list[Callable[[], Awaitable[None]]] = []
        """Each puts what others lead by the same maps, before what nobody knows is forgotten."""
        self.view = View(client, node, rng=rng, now=now)
        self._latency = Histogram(
            name="terway_service_sync_seconds",
            text="seconds from a change of services being heard of to its being in the maps",
            buckets=_BUCKETS_S,
        )
        self._turns = Counter(
            name="terway_service_turns_total", text="changes of the maps, by what became of them"
        )

    @property
    def is_healthy(self) -> bool:
        """Return whether the maps are what the API says, as far as it was heard."""
        return self.filled.is_set() and not self.trouble

    @property
    def compiler(self) -> Compiler | None:
        """Return what is compiled; None before the API was heard."""
        return self._compiler

    async def fill(self) -> None:
        """Wait until the maps have all that was there at the start."""
        await self.filled.wait()

    async def run(self) -> None:
        """Follow until cancelled. What is in the maps then stays there."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.view.run(), name="service view")
                tasks.create_task(self._follow(), name="service turns")
        finally:
            self._workers.close()

    async def _follow(self) -> None:
        await self.view.synced()
        for fill in self.others:
            await fill()
        compiler = await self._workers.run(self._begin)
        await self._take_all(compiler)
        await self._carry_out(compiler.forget)
        self._compiler = compiler
        self.filled.set()
        self.on_turn(Told(gone=(), health=self.health()))
        _log.info("services.filled", services=len(compiler.placed))
        while True:
            await self.view.filled.wait()
            await asyncio.sleep(GATHER_S)
            await self._take_all(compiler)

    def _begin(self) -> Compiler:
        here = Here(node=self._node, zone=self.view.zone)
        return Compiler(here, room=self._maps.room, memory=self._maps.remember())

    async def _take_all(self, compiler: Compiler) -> None:
        while self.view.is_waiting:
            changes, since = self.view.take(self._at_once)
            await self._carry_out(partial(compiler.apply, changes))
            self._latency.observe((), self._now() - since)
            self._tell_left_out(compiler)

    async def _carry_out(self, make: Callable[[], tuple[MapOperation, ...]]) -> None:
        """Compile, and write until it is written: what is half done is done again."""
        operations = await self._workers.run(make)
        while operations:
            try:
                await self._workers.run(partial(self._maps.apply, operations))
            except VpcError as error:
                self._turns.add((("outcome", "failed"),))
                self._tell_trouble(str(error))
                await asyncio.sleep(self._retry_s)
            else:
                self._turns.add((("outcome", "done"),))
                self._tell_trouble("")
                break
        self.on_turn(Told(gone=_gone(operations), health=self.health()))

    def health(self) -> dict[str, tuple[int, int]]:
        """Return port and ready endpoints of the services that load balancers ask about."""
        compiler = self._compiler
        if compiler is None:
            return {}
        return dict(compiler.health())

    def _tell_trouble(self, text: str) -> None:
        if text and text != self.trouble:
            _log.error("services.not_in_maps", error=text)
        self.trouble = text

    def _tell_left_out(self, compiler: Compiler) -> None:
        for key in sorted(compiler.unserved.keys() - self._left_out):
            table = compiler.unserved[key]
            text = f"map {table} is full; raise {SIZE_KEY} in eni-config, and restart terwayd"
            _log.error("services.no_room", service=key, error=text)
        self._left_out = frozenset(compiler.unserved)

    def metrics(self) -> Iterator[Metric]:
        """Yield what there is in numbers."""
        yield from (self._latency, self._turns)
        compiler = self._compiler
        if compiler is not None:
            yield Gauge(
                name="terway_service_entries",
                text="entries of the maps of services",
                values={(("map", t.value),): float(compiler.usage.of(t)) for t in Table},
            )
            yield Gauge(
                name="terway_service_left_out",
                text="services for which a map has no room",
                values={(): float(len(compiler.unserved))},
            )
        yield Gauge(
            name="terway_service_stale_seconds",
            text="seconds since anything was heard of services",
            values={(): self.view.stale_s},
        )

    def pages(self) -> Pages:
        """Return what is shown to tools."""
        return {pages.PATH: lambda: pages.services_page(self)}


def _gone(operations: Iterable[MapOperation]) -> tuple[int, ...]:
    """Return the numbers of the backends that go."""
    return tuple(
        unpack_number(key)
        for one in operations
        if isinstance(one, Delete) and one.table is Table.BACKENDS
        for key in one.keys
    )
