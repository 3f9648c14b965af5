"""What do all objects of a kind look like now? A copy of a collection, kept up to date.

    list ──► watch ──ended, cut──► watch from the last version seen
      ▲        └──410 Expired────┐
      └──────────────────────────┘     between failures: a jittered, growing wait

Level-triggered: a subscriber learns that an object changed, and from what to what; changes that
it was too slow to see are folded into one. So it holds at most one entry per object, and what it
knows in the end does not depend on how often the watch was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from terway.kube.backoff import Backoff
from terway.kube.client import EVERYTHING, KubeClient, Selector
from terway.kube.errors import is_expired, lacks_rights
from terway.kube.resource import ObjectKey, Resource, key_of, metadata_of
from terway.kube.watch import Bookmark, EventType, WatchEvent
from terway.model.errors import ConflictError, TransientError, UsageError

T = TypeVar("T")

_SHORT_S = 1.0  # as client-go's reflector has it, for a watch without an event


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """An object changed from `old` to `new`; None stands for "not there"."""

    key: ObjectKey
    old: T | None
    new: T | None


class Changes(Generic[T]):
    """The changes one subscriber has not taken yet: an async iterator, one entry per object."""

    def __init__(self) -> None:
        self._pending: dict[ObjectKey, Change[T]] = {}
        self._filled = asyncio.Event()

    def put(self, change: Change[T]) -> None:
        """Add a change, folded into the one of the same object that is still waiting."""
        waiting = self._pending.pop(change.key, None)
        if waiting is not None:
            change = Change(key=change.key, old=waiting.old, new=change.new)
        if change.old is None and change.new is None:
            return  # came and went unseen
        self._pending[change.key] = change
        self._filled.set()

    def __aiter__(self) -> AsyncIterator[Change[T]]:
        return self

    async def __anext__(self) -> Change[T]:
        """Wait for a change and return it, the longest waiting first."""
        while not self._pending:
            self._filled.clear()
            await self._filled.wait()
        return self._pending.pop(next(iter(self._pending)))


class Informer(Generic[T]):
    """A collection in memory. Run `run()` in a task group; read `objects` after `synced`.

    `on_error` is told each failure that is waited out, for the log. So is the lack of a right that
    was there before: an API server that starts knows nobody's roles yet. `waits_for_rights`: also
    before the first list.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        *,
        backoff: Backoff,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_error: Callable[[Exception], None] = lambda error: None,
        waits_for_rights: bool = False,
    ) -> None:
        self._client = client
        self._resource = resource
        self._backoff = backoff
        self._namespace = namespace
        self._selector = selector
        self._sleep = sleep
        self._on_error = on_error
        self._waits_for_rights = waits_for_rights
        self._objects: dict[ObjectKey, T] = {}
        self._subscribers: list[Changes[T]] = []
        self._version: str | None = None  # where to resume; None: list first
        self.synced = asyncio.Event()

    @property
    def objects(self) -> Mapping[ObjectKey, T]:
        """Return the objects by key: a live view, read only."""
        return MappingProxyType(self._objects)

    def get(self, name: str, *, namespace: str = "") -> T | None:
        """Return one object as last heard of, or None."""
        return self._objects.get(ObjectKey(namespace=namespace, name=name))

    @contextmanager
    def subscribe(self) -> Iterator[Changes[T]]:
        """Give a stream of changes that starts with every object there is now, as added."""
        changes: Changes[T] = Changes()
        for key, value in self._objects.items():
            changes.put(Change(key=key, old=None, new=value))
        self._subscribers.append(changes)
        try:
            yield changes
        finally:
            self._subscribers.remove(changes)

    async def run(self) -> None:
        """Follow the collection until cancelled. Other UsageErrors end it: retrying cannot help."""
        while True:
            try:
                await self._advance()
            except (ConflictError, TransientError, UsageError) as error:
                if isinstance(error, UsageError) and not self._is_waited_out(error):
                    raise
                if is_expired(error):
                    self._version = None
                self._on_error(error)
                wait_s = getattr(error, "retry_after_s", 0.0)  # what a ThrottledError asks for
                await self._sleep(max(wait_s, self._backoff.next_s()))

    def _is_waited_out(self, error: UsageError) -> bool:
        return lacks_rights(error) and (self._waits_for_rights or self.synced.is_set())

    async def _advance(self) -> None:
        """List if we must, then watch until the server ends it."""
        if self._version is None:
            listing = await self._client.list(
                self._resource, namespace=self._namespace, selector=self._selector
            )
            self._replace(listing.items)
            self._version = listing.resource_version
            self.synced.set()
        events = self._client.watch(
            self._resource,
            since=self._version,
            namespace=self._namespace,
            selector=self._selector,
        )
        began, heard = asyncio.get_running_loop().time(), False
        async with aclosing(events):
            async for event in events:
                heard = True
                self._backoff.reset()
                self._take(event)
        if not heard and asyncio.get_running_loop().time() - began < _SHORT_S:
            # To open it again at once, and again, would be thousands of requests a second.
            raise TransientError(f"watch {self._resource.plural}: it ended as soon as it began")

    def _take(self, event: WatchEvent[T] | Bookmark) -> None:
        if isinstance(event, Bookmark):
            self._version = event.resource_version
            return
        gone = event.type is EventType.DELETED
        shrink = self._resource.shrink
        value = event.object if shrink is None else shrink(event.object)
        self._put(key_of(event.object), None if gone else value)
        self._version = metadata_of(event.object).resource_version

    def _replace(self, items: tuple[T, ...]) -> None:
        fresh = {key_of(item): item for item in items}
        for key in [key for key in self._objects if key not in fresh]:
            self._put(key, None)
        for key, value in fresh.items():
            if self._objects.get(key) != value:
                self._put(key, value)

    def _put(self, key: ObjectKey, new: T | None) -> None:
        old = self._objects.get(key)
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
        for subscriber in self._subscribers:
            subscriber.put(Change(key=key, old=old, new=new))
