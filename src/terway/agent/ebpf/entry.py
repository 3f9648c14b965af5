"""Services for the node's own processes: at their sockets, or else at the uplink.

    sockets served? ─yes─► connect, sendmsg, … of the node's cgroup     a backend that goes: told
          └─ no, and why ─► SETTING_NODE_OUT: programs of the uplink do it, packet by packet

What the uplink alone cannot do: a backend that is a process of this node itself, and loopback
addresses with a node port. Both are said in docs/design/entry.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from terway.datapath.relay_ports import RANGE, RESERVED, plan_reserved
from terway.linux.ebpf.contract import SETTING_NODE_OUT
from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.node_sockets import NodeSockets
from terway.linux.ebpf.pins import Pins
from terway.model.errors import VpcError
from terway.model.exposition import Counter, Gauge, Metric
from terway.model.network import NODE, Operation, Put

_log = structlog.get_logger("services")


class EntryKernel(Protocol):
    """What is needed of the kernel."""

    async def serve_sockets(
        self, datapath: DataPath, pins: Pins, cgroup: Path | None
    ) -> NodeSockets:
        """Attach the programs for sockets. Raises VpcError where that is refused."""
        ...

    async def end_sockets(self, served: NodeSockets, gone: Collection[int]) -> int:
        """End the sockets that are connected to backends that are gone; return how many."""
        ...

    async def read_settings(self, paths: Collection[str]) -> dict[str, str]:
        """Return the values of those settings of the node that there are."""
        ...

    async def apply(self, operations: Sequence[Operation]) -> None:
        """Carry out operations."""
        ...


class NodeEntry:
    """The node's processes and services. `cgroup` None: the first of all."""

    def __init__(
        self, kernel: EntryKernel, datapath: DataPath, pins: Pins, *, cgroup: Path | None
    ) -> None:
        self._kernel = kernel
        self._datapath = datapath
        self._pins = pins
        self._cgroup = cgroup
        self._served: NodeSockets | None = None
        self._gone: set[int] = set()
        self._woken = asyncio.Event()
        self._ended = 0
        self.lacks = ""
        """Why sockets are not served; empty where they are."""

    async def begin(self) -> None:
        """Serve the node's processes, one way or the other. Idempotent."""
        await self._reserve_ports()
        try:
            self._served = await self._kernel.serve_sockets(
                self._datapath, self._pins, self._cgroup
            )
            self.lacks = ""
        except VpcError as error:
            self.lacks = str(error)
            _log.warning("services.sockets_not_served", error=self.lacks)
        self._datapath.knowledge.switch(SETTING_NODE_OUT, is_on=self._served is None)

    def lost(self, backends: Collection[int]) -> None:
        """Have sockets told that these backends are gone; never waits."""
        if backends:
            self._gone |= set(backends)
            self._woken.set()

    async def run(self) -> None:
        """Tell sockets whose backend has gone, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self.tell()

    async def tell(self) -> None:
        """Tell those who are connected to what is gone by now."""
        gone, self._gone = self._gone, set()
        if self._served is None or not gone:
            return
        try:
            self._ended += await self._kernel.end_sockets(self._served, gone)
        except VpcError as error:
            _log.warning("services.sockets_not_told", backends=len(gone), error=str(error))

    async def _reserve_ports(self) -> None:
        """Keep the node's sockets from the ports of relayed connections."""
        try:
            held = await self._kernel.read_settings((RANGE, RESERVED))
            wanted = plan_reserved(held[RANGE], held[RESERVED]) if len(held) > 1 else None
            if wanted is not None:
                await self._kernel.apply((Put(netns=NODE, object=wanted),))
        except VpcError as error:
            _log.warning("services.ports_not_reserved", error=str(error))

    def metrics(self) -> Iterator[Metric]:
        """Yield whether sockets are served, and how many were ended."""
        yield Gauge(
            name="terway_ebpf_sockets_served",
            text="1 while the node's processes reach services at their sockets",
            values={(): float(self._served is not None)},
        )
        yield Counter(
            name="terway_ebpf_sockets_ended_total",
            text="connections of the node's processes ended because their endpoint had gone",
            values={(): float(self._ended)},
        )
