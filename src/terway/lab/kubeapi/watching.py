"""What does a watcher see? The changes after its revision, as its selector would show them.

An object that begins to match is ADDED for this watcher, one that ceases to is DELETED, whatever
happened to it: a pod that is bound to a node "appears" to the kubelet that selects by node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from terway.lab.kubeapi.errors import ApiError, expired, too_large_version
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION, ResourceDef
from terway.lab.kubeapi.selectors import Predicate, everything
from terway.lab.kubeapi.store import Change, ForgottenError, Store, Stored, key_of

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
BOOKMARK, ERROR = "BOOKMARK", "ERROR"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What a watcher wants. `since` is None to begin with everything there is."""

    resource: ResourceDef
    since: int | None
    namespace: str = ""
    matches: Predicate = everything
    bookmarks: bool = False
    marks_initial_end: bool = False  # sendInitialEvents: a bookmark says when the list is through
    timeout_s: float = 1800.0
    bookmark_interval_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One line of a watch's answer."""

    type: str
    stored: Stored


def select(change: Change, options: WatchOptions) -> Frame | None:
    """Return what a watcher sees of a change, or None when it concerns it not."""
    if change.resource is not options.resource.home:
        return None
    if options.namespace not in ("", change.key.namespace):
        return None
    resource, new = options.resource, change.new.seen_as(options.resource)
    before = change.old is not None and options.matches(change.old.seen_as(resource).object)
    after = not change.is_deletion and options.matches(new.object)
    if not before and not after:
        return None
    kind = (MODIFIED if before else ADDED) if after else DELETED
    return Frame(type=kind, stored=new)


def bookmark(resource: ResourceDef, revision: int, *, is_initial_end: bool = False) -> Frame:
    """Return the frame that says: you have seen everything up to `revision`."""
    meta: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if is_initial_end:
        meta["annotations"] = {INITIAL_EVENTS_END: "true"}
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    return Frame(type=BOOKMARK, stored=Stored(obj))


def error_frame(error: ApiError) -> Frame:
    """Return the frame that ends a watch with a reason."""
    return Frame(type=ERROR, stored=Stored(error.status()))


class Watcher:
    """The changes that one watcher has not been told yet.

    After the start it has a queue of its own and depends on the store's history no more; one
    that is `limit` changes behind is dropped with 410, as a slow one is by the real watch cache.
    """

    def __init__(self, store: Store, options: WatchOptions, *, limit: int = 10_000) -> None:
        self._store = store
        self._options = options
        self._limit = limit
        self._pending: list[Change] = []
        self.wake = asyncio.Event()
        self.is_over = False  # the kind is served no more

    def start(self) -> Iterator[Frame]:
        """Yield what comes first, and follow from there. ApiError 410 or 504 for a bad start."""
        since = self._options.since
        if since is None:
            return self._initial()
        if since > self._store.revision:
            raise too_large_version(since, self._store.revision)
        try:
            missed = self._store.since(since)
        except ForgottenError as error:
            raise expired(f"too old resource version: {since}") from error
        for change in missed:
            self.on_change(change)
        return iter(())

    def _initial(self) -> Iterator[Frame]:
        options, revision = self._options, self._store.revision
        held_now = self._store.items(options.resource, options.namespace)
        found = sorted(held_now, key=lambda held: key_of(held.object))
        frames = [Frame(type=ADDED, stored=held) for held in found if options.matches(held.object)]
        if options.marks_initial_end:
            frames.append(bookmark(options.resource, revision, is_initial_end=True))
        return iter(frames)

    def on_change(self, change: Change) -> None:
        """Take note of a change; the store's listener."""
        if change.resource is self._options.resource.home:
            self._pending.append(change)
            self.wake.set()
        elif change.is_deletion and self._is_definition(change):
            self.is_over = True
            self.wake.set()

    def _is_definition(self, change: Change) -> bool:
        is_named = change.key.name == self._options.resource.qualified
        return is_named and change.resource is CUSTOM_RESOURCE_DEFINITION

    def take(self) -> Iterator[Frame]:
        """Yield what has happened since the last time. ApiError 410 when that was too long ago."""
        pending, self._pending = self._pending, []
        self.wake.clear()
        if len(pending) > self._limit:
            raise expired(f"too old resource version: {pending[0].revision - 1}")
        for change in pending:
            if frame := select(change, self._options):
                yield frame

    def bookmark(self) -> Frame:
        """Return a bookmark for now; only right when nothing is pending."""
        return bookmark(self._options.resource, self._store.revision)


class Closing:
    """Tells every open watch that the server is going down."""

    def __init__(self) -> None:
        self.is_set = False
        self._wakes: set[asyncio.Event] = set()

    def close(self) -> None:
        """End all watches, those to come included."""
        self.is_set = True
        for wake in self._wakes:
            wake.set()

    @contextmanager
    def waking(self, wake: asyncio.Event) -> Iterator[None]:
        """Set `wake` when the server goes down."""
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)


async def watch(
    store: Store, options: WatchOptions, closing: Closing
) -> AsyncGenerator[Frame, None]:
    """Yield frames until the timeout is over or the server closes; an ERROR frame is the last."""
    loop = asyncio.get_running_loop()
    end = loop.time() + options.timeout_s
    watcher = Watcher(store, options)
    with ExitStack() as stack:
        stack.callback(store.on_change(watcher.on_change))
        stack.enter_context(closing.waking(watcher.wake))
        try:
            for frame in watcher.start():
                yield frame
            while True:
                for frame in watcher.take():
                    yield frame
                left_s = end - loop.time()
                if closing.is_set or watcher.is_over or left_s <= 0:
                    return
                woken = await _wait(watcher.wake, min(left_s, options.bookmark_interval_s))
                if not woken and options.bookmarks:
                    yield watcher.bookmark()
        except ApiError as error:
            yield error_frame(error)


async def _wait(wake: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        return False
    return True
