"""What do all objects of a kind say now? Followed, and kept only as the values that policy reads.

As `kube.informer`, with two differences: of an object only what is read of it is kept, and a kind
that the API server does not have (404) is an empty one, asked for again now and then. Where it had
objects a moment ago it must say so for a while: one that starts does not know all kinds at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from contextlib import aclosing
from types import MappingProxyType
from typing import Generic, TypeVar

import structlog

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.errors import is_expired
from terway.kube.resource import ObjectKey, Resource, key_of, metadata_of
from terway.kube.watch import Bookmark, EventType, WatchEvent
from terway.model.errors import ConflictError, TransientError, VpcError

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

NOT_INSTALLED_PERIOD_S = 60.0
REMOVED_AFTER_S = 30.0  # who removes a kind sees its objects go first, and so do we
# The API server tells at least of its own progress once a minute: a watch that says nothing for
# longer is asked for again, and one that is not answered at all is trouble.
SILENCE_S = 75.0
OPENS_WITHIN_S = 5.0
_SLICE = 200  # objects that are read in one go: some 5 ms

_log = structlog.get_logger("policy")


class Collection(Generic[T, K, V]):
    """The values of one kind. `read` makes a value of an object, `name` the key that it has here.

    `heard` is told what changes: the key, and the value that it has now, None when it is gone.
    `now` is monotonic seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        *,
        name: Callable[[ObjectKey], K],
        read: Callable[[T], V],
        heard: Callable[[K, V | None], None],
        backoff: Backoff,
        is_optional: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        silence_s: float = SILENCE_S,
        opens_within_s: float = OPENS_WITHIN_S,
    ) -> None:
        self._client = client
        self._now = now
        self._silence_s = silence_s
        self._opens_within_s = opens_within_s
        self._watching: asyncio.Timeout | None = None
        self.alive_at = now()  # when the API server last said anything of the kind
        self._resource = resource
        self._name = name
        self._read = read
        self._heard = heard
        self._backoff = backoff
        self._is_optional = is_optional
        self._sleep = sleep
        self._values: dict[K, V] = {}
        self._early: set[K] = set()
        self._missing_since: float | None = None  # monotonic seconds
        self._version: str | None = None
        self.synced = asyncio.Event()
        self.trouble = "it was not asked for yet"  # why it is not followed now; empty: it is

    @property
    def kind(self) -> str:
        """Return what it is a collection of, as the API names it."""
        return self._resource.plural

    @property
    def heard(self) -> str:
        """Return up to which resourceVersion it has heard; empty before the first."""
        return self._version or ""

    @property
    def values(self) -> Mapping[K, V]:
        """Return the values by key: a live view, read only."""
        return MappingProxyType(self._values)

    def put_early(self, key: K, value: V) -> None:
        """Take a value that somebody else has read of the API, before the watch tells of it.

        That an object of this name goes is then said of the one before it.
        """
        self._early.add(key)
        self._put(key, value)

    @property
    def early(self) -> Set[K]:
        """Return the keys of the values that were put early and not told of by the watch yet."""
        return frozenset(self._early)

    async def run(self) -> None:
        """Follow the kind until cancelled; whatever fails is tried again."""
        while True:
            try:
                await self._advance()
            except VpcError as error:
                await self._sleep(self._after(error))

    def _after(self, error: VpcError) -> float:
        """Take note of a failure; return in how many seconds to try again."""
        if is_expired(error):
            self._version = None
        elif isinstance(error, ConflictError) and self._is_optional and self._is_not_there():
            self._version = None
            self._keep_only(())
            self._settle()
            return NOT_INSTALLED_PERIOD_S
        if self.trouble != str(error):
            _log.warning("policy.watch_failed", kind=self.kind, error=str(error))
        self.trouble = str(error)
        wait_s: float = getattr(error, "retry_after_s", 0.0)
        return max(wait_s, self._backoff.next_s())

    def _is_not_there(self) -> bool:
        """Return whether a kind that is not found is to be believed not to be there."""
        if self._missing_since is None:
            self._missing_since = self._now()
        return not self._values or self._now() - self._missing_since >= REMOVED_AFTER_S

    async def _advance(self) -> None:
        """List if we must, then watch until the server ends it."""
        if self._version is None:
            self._version = await self._list()
            self._settle()
        await self._watch(self._version)

    async def _list(self) -> str:
        """Take what there is, and return up to which version; nothing else of it is kept."""
        listing = await self._client.list(self._resource)
        await self._replace(listing.items)
        return listing.resource_version

    async def _watch(self, since: str) -> None:
        """Follow until the server ends it, or has said nothing for too long."""
        is_open = False

        def opened() -> None:
            nonlocal is_open
            is_open = True
            self._settle()

        events = self._client.watch(self._resource, since=since, on_open=opened)
        try:
            async with asyncio.timeout(self._opens_within_s) as self._watching, aclosing(events):
                async for event in events:
                    self._settle()
                    self._take(event)
        except TimeoutError as error:
            if not is_open:
                text = f"watch {self.kind}: no answer within {self._opens_within_s:g} s"
                raise TransientError(text) from error
        finally:
            self._watching = None

    def ask_again(self) -> None:
        """Have a watch that is open asked for anew: somebody knows what it has not told."""
        watching = self._watching
        if watching is not None and not watching.expired():
            watching.reschedule(asyncio.get_running_loop().time())

    def _settle(self) -> None:
        self._backoff.reset()
        self.trouble, self.alive_at = "", self._now()
        self._missing_since = None
        if self._watching is not None and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time() + self._silence_s)
        self.synced.set()

    def _take(self, event: WatchEvent[T] | Bookmark) -> None:
        if isinstance(event, Bookmark):
            self._version = event.resource_version
            return
        key = self._key(event.object)
        if event.type is not EventType.DELETED:
            self._early.discard(key)
            self._put(key, self._read(event.object))
        elif key not in self._early:
            self._put(key, None)
        self._version = metadata_of(event.object).resource_version

    async def _replace(self, items: tuple[T, ...]) -> None:
        self._keep_only(self._key(item) for item in items)
        for number, item in enumerate(items):
            self._put(self._key(item), self._read(item))
            if number % _SLICE == 0:
                await asyncio.sleep(0)  # thousands are read here, and an ADD may be waiting

    def _keep_only(self, keys: Iterable[K]) -> None:
        there = frozenset(keys)
        self._early.clear()
        for key in [key for key in self._values if key not in there]:
            self._put(key, None)

    def _key(self, item: T) -> K:
        return self._name(key_of(item))

    def _put(self, key: K, value: V | None) -> None:
        if self._values.get(key) == value:
            return  # a heartbeat, or nothing that policy reads
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        self._heard(key, value)
