"""What has this node heard of services, and what of it is not compiled yet?

Changes wait folded, one for each object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from sys import intern
from typing import Any

from terway.agent.policy.collection import Collection
from terway.agent.service.objects import (
    ENDPOINT_SLICES,
    SERVICES,
    LeanService,
    LeanSlice,
    read_service,
    read_slice,
)
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.resource import NODES, ObjectKey
from terway.kube.types import Node
from terway.model.ids import NodeName
from terway.service.changes import (
    DropService,
    DropSlice,
    ServiceChange,
    SetHere,
    SetService,
    SetSlice,
    unpack_slice,
)
from terway.service.values import Here

ZONE = "topology.kubernetes.io/zone"


class View:
    """Services and slices, packed, and the node's zone. `now` is monotonic seconds."""

    def __init__(
        self, client: KubeClient, node: NodeName, *, rng: Random, now: Callable[[], float]
    ) -> None:
        self._client = client
        self._node = node
        self._now = now
        self._waiting: dict[str, ServiceChange] = {}  # of the node and its pods
        # Thousands wait at the start: packed, as they are kept; empty: not there, or not ours.
        self._waiting_slices: dict[str, bytes] = {}
        self._waiting_services: dict[str, bytes] = {}
        self._since = 0.0
        self.zone = ""  # of this node
        self.filled = asyncio.Event()
        self.services: Collection[LeanService, str, bytes] = Collection(
            client,
            SERVICES,
            name=str,
            read=read_service,
            heard=self._heard_service,
            backoff=Backoff(rng),
            now=now,
        )
        self.slices: Collection[LeanSlice, str, bytes] = Collection(
            client,
            ENDPOINT_SLICES,
            name=str,
            read=read_slice,
            heard=self._heard_slice,
            backoff=Backoff(rng),
            now=now,
        )
        self.nodes: Collection[Node, ObjectKey, str] = Collection(
            client,
            NODES,
            name=lambda key: key,
            read=lambda node: node.metadata.labels.get(ZONE, ""),
            heard=self._heard_node,
            backoff=Backoff(rng),
            now=now,
        )

    async def run(self) -> None:
        """Follow all until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.collections():
                tasks.create_task(one.run(), name=f"services {one.kind}")

    async def synced(self) -> None:
        """Wait until each kind has been read once."""
        for one in self.collections():
            await one.synced.wait()

    @property
    def is_waiting(self) -> bool:
        """Return whether something has not been taken yet."""
        return bool(self._waiting or self._waiting_slices or self._waiting_services)

    @property
    def stale_s(self) -> float:
        """Return since when nothing was heard of the kind that was not heard of the longest."""
        return self._now() - min(one.alive_at for one in self.collections())

    def collections(self) -> tuple[Collection[Any, Any, Any], ...]:
        """Return what is followed."""
        return self.services, self.slices, self.nodes

    def put(self, change: ServiceChange) -> None:
        """Take a change that did not come from the API: a pod's host ports."""
        self._wait()
        self._waiting[getattr(change, "pod", "")] = change

    def take(self, most: int) -> tuple[tuple[ServiceChange, ...], float]:
        """Return up to `most` of what is waiting, and since when something waits.

        Whatever belongs to services comes before they do. Else those of the first turns would have
        no endpoints for a moment, and lose what the last terwayd has left of them.
        """
        taken = list(islice(self._changes(), most))
        if not self.is_waiting:
            self.filled.clear()
        return tuple(taken), self._since

    def _changes(self) -> Iterator[ServiceChange]:
        while self._waiting:
            yield self._waiting.pop(next(iter(self._waiting)))
        while self._waiting_slices:
            key = next(iter(self._waiting_slices))
            yield _slice_change(key, self._waiting_slices.pop(key))
        while self._waiting_services:
            key = next(iter(self._waiting_services))
            packed = self._waiting_services.pop(key)
            yield SetService(key=key, packed=packed) if packed else DropService(key=key)

    def _wait(self) -> None:
        if not self.is_waiting:
            self._since = self._now()
        self.filled.set()

    def _heard_service(self, key: str, packed: bytes | None) -> None:
        self._wait()
        self._waiting_services[key] = packed or b""

    def _heard_slice(self, key: str, packed: bytes | None) -> None:
        self._wait()
        self._waiting_slices[key] = packed or b""

    def _heard_node(self, key: ObjectKey, zone: str | None) -> None:
        if key.name == self._node:
            self.zone = zone or ""
            self.put(SetHere(here=Here(node=self._node, zone=self.zone)))


def _slice_change(key: str, packed: bytes) -> ServiceChange:
    if not packed:
        return DropSlice(key=key)
    return SetSlice(key=key, service=intern(unpack_slice(packed).service), packed=packed)
