"""How does the data path come up under running pods? Filled first, then exchanged link by link.

    fills of other rooms (policy, services) ─► endpoints ─► programs at links ─► in pods ─► settle

Until a link's turn its packets go as they went, by the programs of the last terwayd or by the
node's stack. Rooms that fill maps say so by `Bringup.fills`, before terwayd runs. Where the maps
are those of the last terwayd they are full already, and nothing is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

import structlog

from terway.agent.network import KernelNetwork
from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.programs import memory_of
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.exposition import Gauge, Metric

Fill = Callable[[], Awaitable[None]]

_log = structlog.get_logger("datapath")


class Bringup:
    """The loaded data path of a node, on its way to the links."""

    def __init__(self, kernel: Kernel, network: KernelNetwork, datapath: DataPath) -> None:
        self.datapath = datapath
        self.fills: list[Fill] = []
        """Each makes maps of its room hold all that is known, before any program reads them."""
        self._kernel = kernel
        self._network = network
        self._is_up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Return whether all pods have the programs."""
        return self._is_up.is_set()

    async def up(self) -> None:
        """Return when all pods have the programs."""
        await self._is_up.wait()

    async def begin(self, attachments: Iterable[Attachment]) -> None:
        """Bring it up at once, where nothing is to be filled first; else when `run` is done."""
        held = tuple(attachments)
        self._network.hold_back(held)
        if not self.fills or not self.datapath.object.is_fresh:
            await self._exchange(held)

    async def run(self) -> None:
        """Wait for what is to be filled; then bring it up for the pods that run."""
        if self._is_up.is_set():
            return
        for fill in self.fills:
            await fill()
        await self._exchange(self._network.held_back)

    async def _exchange(self, held: tuple[Attachment, ...]) -> None:
        links = await self._network.enrol(held)
        for one in held:
            await self._enter(one)
        await self._kernel.settle_datapath()
        self._is_up.set()
        _log.info("datapath.up", links=links, has_tcx=self.datapath.edges.has_tcx)

    async def _enter(self, attachment: Attachment) -> None:
        """Exchange the programs inside a pod; one whose namespace is gone has none."""
        with suppress(VpcError):
            await self._network.enter(attachment)

    def metrics(self) -> Iterator[Metric]:
        """Yield how much memory the maps take, and how many entries they have room for."""
        maps = self.datapath.object.maps
        yield Gauge(
            name="terway_ebpf_map_memory_bytes",
            text="Memory of the kernel that a map takes",
            values={(("map", name),): size for name, size in memory_of(maps).items()},
        )
        yield Gauge(
            name="terway_ebpf_map_max_entries",
            text="Entries that a map has room for",
            values={(("map", name),): one.max_entries for name, one in maps.items()},
        )
