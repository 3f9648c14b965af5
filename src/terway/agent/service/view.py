"""What has this node heard of services, and what of it is not compiled yet?

Changes wait folded, one for each object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from random import Random
from typing import Any

from terway.agent.policy.collection import Collection
from terway.agent.service.objects import (
    ENDPOINT_SLICES,
    SERVICES,
    LeanService,
    LeanSlice,
    service_of,
    slice_of,
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
    pack,
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
        self._waiting: dict[Hashable, ServiceChange] = {}
        self._since = 0.0
        self.zone = ""  # of this node
        self.filled = asyncio.Event()
        self.services: Collection[LeanService, str, bytes] = Collection(
            client,
            SERVICES,
            name=str,
            read=_read_service,
            heard=self._heard_service,
            backoff=Backoff(rng),
            now=now,
        )
        self.slices: Collection[LeanSlice, str, bytes] = Collection(
            client,
            ENDPOINT_SLICES,
            name=str,
            read=_read_slice,
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
        return bool(self._waiting)

    @property
    def stale_s(self) -> float:
        """Return since when nothing was heard of the kind that was not heard of the longest."""
        return self._now() - min(one.alive_at for one in self.collections())

    def collections(self) -> tuple[Collection[Any, Any, Any], ...]:
        """Return what is followed."""
        return self.services, self.slices, self.nodes

    def put(self, change: ServiceChange) -> None:
        """Take a change that did not come from the API: a pod's host ports."""
        self._put(("other", getattr(change, "pod", "")), change)

    def put_services_last(self) -> None:
        """Have whatever belongs to services taken before they are.

        Else those of the first turns would have no endpoints for a moment, and lose what the last
        terwayd has left of them.
        """
        by_kind = sorted(self._waiting.items(), key=lambda one: isinstance(one[1], SetService))
        self._waiting = dict(by_kind)

    def take(self, most: int) -> tuple[tuple[ServiceChange, ...], float]:
        """Return up to `most` of what is waiting, the longest first, and since when it waits."""
        keys = list(self._waiting)[:most]
        taken = tuple(self._waiting.pop(key) for key in keys)
        if not self._waiting:
            self.filled.clear()
        return taken, self._since

    def _put(self, place: Hashable, change: ServiceChange) -> None:
        if not self._waiting:
            self._since = self._now()
        self._waiting[place] = change
        self.filled.set()

    def _heard_service(self, key: str, packed: bytes | None) -> None:
        change = SetService(key=key, packed=packed) if packed else DropService(key=key)
        self._put(("service", key), change)

    def _heard_slice(self, key: str, packed: bytes | None) -> None:
        if packed:
            owner = unpack_slice(packed).service
            self._put(("slice", key), SetSlice(key=key, service=owner, packed=packed))
        else:
            self._put(("slice", key), DropSlice(key=key))

    def _heard_node(self, key: ObjectKey, zone: str | None) -> None:
        if key.name == self._node:
            self.zone = zone or ""
            self._put("here", SetHere(here=Here(node=self._node, zone=self.zone)))


def _read_service(lean: LeanService) -> bytes:
    service = service_of(lean)
    return pack(service) if service is not None else b""


def _read_slice(lean: LeanSlice) -> bytes:
    found = slice_of(lean)
    return pack(found) if found is not None else b""
