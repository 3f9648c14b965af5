"""The loop between a node's pool and its control plane: the node's resource in, reports out.

    watch of one object ──► Supply.take ──► the pool reads
    the pool changed    ──► 0.2 s ──► journal flushed ──► round kept ──► NodeRuntime
    eni-config          ──► Node.spec, whenever it is another than wanted

While the API server is away nothing of this happens, and the pool goes on with what it has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

import msgspec
import structlog

from terway.agent.supply import KeptRound, Supply
from terway.agent.supply_report import PodHistory, report_of
from terway.ipam.pool import Pool
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, PatchType, Selector
from terway.kube.crds import NODE_RUNTIMES, POOL_NODES, NodeRuntime, NodeRuntimeStatus, PoolNode
from terway.kube.informer import Informer
from terway.kube.types import ObjectMeta
from terway.model.attachment import Attachment
from terway.model.errors import ConflictError, VpcError
from terway.model.ids import NodeName

GATHER_S = 0.2

_log = structlog.get_logger("supply")


class SuppliedPool(Protocol):
    """The pool as this loop needs it: `PoolService` has all of it."""

    @property
    def pool(self) -> Pool:
        """Return the pool as it is now."""
        ...

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all attachments."""
        ...

    def observe_soon(self) -> None:
        """Have the pool read now."""
        ...

    async def flushed(self) -> None:
        """Return when all that the pool has changed so far is in the journal."""
        ...


class SupplyLink:
    """Follows the node's resource and reports. `changed` is to be set whenever the pool changes.

    `wanted` is the agent's part of the resource's spec, as `supply_spec` makes it.
    """

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        *,
        supply: Supply,
        kept: KeptRound,
        wanted: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        self._client = client
        self._name = node
        self._supply = supply
        self._kept = kept
        self._wanted = wanted
        self._history = PodHistory(clock)
        self._said: NodeRuntimeStatus | None = None
        self._said_of = ""  # the uid of the node's resource, when that was said
        self._answered = 0  # the round of the resource, when that was said
        self._backoff = Backoff(rng or Random())  # noqa: S311 - waits are drawn from it
        self.changed = asyncio.Event()
        self.informer: Informer[PoolNode] = Informer(
            client,
            POOL_NODES,
            backoff=self._backoff,
            selector=Selector(fields=f"metadata.name={node}"),
            on_error=lambda error: _log.warning("supply.watch_failed", error=str(error)),
        )

    async def run(self, pool: SuppliedPool) -> None:
        """Follow and report until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.informer.run(), name="supply watch")
            tasks.create_task(self._follow(pool), name="supply follow")
            tasks.create_task(self._report_all(pool), name="supply report")

    async def _follow(self, pool: SuppliedPool) -> None:
        with self.informer.subscribe() as changes:
            async for change in changes:
                if self._supply.take(change.new):
                    pool.observe_soon()
                self.changed.set()

    async def _report_all(self, pool: SuppliedPool) -> None:
        """Report whatever changed; the first time although nothing did."""
        backoff = Backoff(Random(self._name))  # noqa: S311 - as above
        self.changed.set()
        while True:
            await self.changed.wait()
            await asyncio.sleep(GATHER_S)
            self.changed.clear()
            try:
                await self._ask()
                await self._report(pool)
            except VpcError as error:
                _log.warning("supply.not_reported", error=str(error))
                self.changed.set()
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()

    async def _ask(self) -> None:
        """Write into the resource what the node wants, where it says something else."""
        node = self._supply.node
        if node is None:
            return
        has: dict[str, Any] = msgspec.to_builtins(node.spec)
        wanted = self._wanted()
        patch = [
            {"op": "add", "path": f"/spec/{key}", "value": value}
            for key, value in wanted.items()
            if has.get(key) != value
        ]
        if patch:
            await self._client.patch(POOL_NODES, self._name, patch, kind=PatchType.JSON)
            _log.info("supply.asked", keys=[one["path"] for one in patch])

    async def _report(self, pool: SuppliedPool) -> None:
        node = self._supply.node
        uid = self._said_of if node is None else node.metadata.uid
        if uid != self._said_of:
            self._said = None  # what was said went with the one before
        status = report_of(pool.pool, pool.attachments(), node, self._history)
        asked = self._answered if node is None else node.status.round
        if asked == self._answered and _says_no_more(status, self._said):
            return
        # What is said to be released must not be there any more after a crash.
        await pool.flushed()
        if node is not None and status.released:
            await self._kept.keep(node)
        await self._write(status)
        self._said, self._said_of, self._answered = status, uid, asked

    async def _write(self, status: NodeRuntimeStatus) -> None:
        patch = [{"op": "add", "path": "/status", "value": msgspec.to_builtins(status)}]
        try:
            await self._client.patch(
                NODE_RUNTIMES, self._name, patch, kind=PatchType.JSON, subresource="status"
            )
        except ConflictError as error:
            if error.code != "NotFound":
                raise
            made = NodeRuntime(metadata=ObjectMeta(name=self._name))
            await self._client.create(NODE_RUNTIMES, made)
            await self._client.patch(
                NODE_RUNTIMES, self._name, patch, kind=PatchType.JSON, subresource="status"
            )


def _says_no_more(status: NodeRuntimeStatus, said: NodeRuntimeStatus | None) -> bool:
    """Return whether all that is new is which version of the resource was seen."""
    return said is not None and msgspec.structs.replace(status, seen=said.seen) == said
