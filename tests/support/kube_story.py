"""A Kubernetes API told in memory: collections that a test changes, for informers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from terway.kube.client import EVERYTHING, Listing, Selector
from terway.kube.resource import Resource
from terway.kube.types import KubeObject, ObjectMeta
from terway.kube.watch import EventType, WatchEvent


@dataclass(slots=True)
class _Collection:
    objects: dict[tuple[str, str], Any] = field(default_factory=dict)
    watchers: list[asyncio.Queue[WatchEvent[Any]]] = field(default_factory=list)


class KubeStory:
    """What an informer asks of a KubeClient. Changes are told to watchers as they are made."""

    def __init__(self) -> None:
        self._collections: dict[str, _Collection] = {}
        self.version = 1
        self.may_list = asyncio.Event()
        self.may_list.set()

    def _of(self, resource: Resource[Any]) -> _Collection:
        return self._collections.setdefault(resource.plural, _Collection())

    def put(self, resource: Resource[Any], value: KubeObject) -> None:
        """Create or change an object."""
        collection = self._of(resource)
        key = (value.metadata.namespace, value.metadata.name)
        kind = EventType.MODIFIED if key in collection.objects else EventType.ADDED
        collection.objects[key] = value
        self._tell(collection, WatchEvent(type=kind, object=value))

    def remove(self, resource: Resource[Any], name: str, *, namespace: str = "") -> None:
        """Delete an object."""
        collection = self._of(resource)
        value = collection.objects.pop((namespace, name))
        self._tell(collection, WatchEvent(type=EventType.DELETED, object=value))

    def _tell(self, collection: _Collection, event: WatchEvent[Any]) -> None:
        self.version += 1
        for watcher in collection.watchers:
            watcher.put_nowait(event)

    async def list(
        self,
        resource: Resource[Any],
        *,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
    ) -> Listing[Any]:
        """As KubeClient.list."""
        await self.may_list.wait()
        found = self._of(resource).objects.values()
        kept = found if resource.shrink is None else map(resource.shrink, found)
        return Listing(items=tuple(kept), resource_version=str(self.version))

    async def watch(self, resource: Resource[Any], **_: Any) -> AsyncIterator[WatchEvent[Any]]:
        """As KubeClient.watch, of one that is never cut."""
        queue: asyncio.Queue[WatchEvent[Any]] = asyncio.Queue()
        watchers = self._of(resource).watchers
        watchers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            watchers.remove(queue)


def named(name: str, *, namespace: str = "", **labels: str) -> ObjectMeta:
    """Return the metadata of a small object."""
    return ObjectMeta(name=name, namespace=namespace, labels=labels)
