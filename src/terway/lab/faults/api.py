"""A Kubernetes API small enough for ten thousand histories: what terwayd's client can ask it.

`Cluster` is what is there; `LivingApi` is one life's connection to it, in place of `KubeClient`.
The whole server is `lab/kubeapi`; this has its revisions, watches and refusals, without a wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from terway.kube.client import EVERYTHING, Listing, PatchType, Selector
from terway.kube.errors import Status, translate
from terway.kube.resource import ObjectKey, Resource, key_of
from terway.kube.watch import Bookmark, EventType, WatchEvent
from terway.lab.faults.life import Life
from terway.lab.faults.ports import Reach
from terway.model.errors import TransientError

API_S = 0.003
_TIMEOUT_S = 10.0  # the client's, for a request
HISTORY = 200  # changes that a watch can resume behind
_WATCH_S = 300.0

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    revision: int
    type: EventType
    plural: str
    object: Object


@dataclass(slots=True)
class Cluster:
    """All objects as the API spells them, the changes that are remembered, and what is wrong."""

    objects: dict[tuple[str, ObjectKey], Object] = field(default_factory=dict)
    changes: list[_Change] = field(default_factory=list)
    revision: int = 100
    forgotten: int = 100  # what a watch from before this revision cannot resume
    is_away: bool = False
    errors: list[int] = field(default_factory=list)  # codes of the next answers
    cuts: int = 0  # how often all watches were ended
    is_stalled: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, plural: str, item: Object) -> Object:
        """Create or replace an object."""
        key = key_of(item)
        is_new = (plural, key) not in self.objects
        self.revision += 1
        meta = {**item["metadata"], "resourceVersion": str(self.revision)}
        stored = self.objects[plural, key] = {**item, "metadata": meta}
        self._tell(EventType.ADDED if is_new else EventType.MODIFIED, plural, stored)
        return stored

    def remove(self, plural: str, key: ObjectKey) -> None:
        """Delete an object, if it is there."""
        gone = self.objects.pop((plural, key), None)
        if gone is not None:
            self.revision += 1
            meta = {**gone["metadata"], "resourceVersion": str(self.revision)}
            self._tell(EventType.DELETED, plural, {**gone, "metadata": meta})

    def get(self, plural: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None."""
        return self.objects.get((plural, ObjectKey(namespace=namespace, name=name)))

    def cut_watches(self, *, expires: bool = False) -> None:
        """End all watches; with `expires`, forget what was."""
        self.cuts += 1
        if expires:
            self.forgotten = self.revision + 1
            self.revision += 1
        self.wake()

    def wake(self) -> None:
        """Have all watches look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Return when something has changed, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _tell(self, type_: EventType, plural: str, item: Object) -> None:
        self.changes.append(_Change(revision=self.revision, type=type_, plural=plural, object=item))
        if len(self.changes) > HISTORY:
            self.forgotten = self.changes.pop(0).revision
        self.wake()


def merged(base: Any, patch: Any) -> Any:
    """Return `base` with an RFC 7396 merge patch; lists of conditions merge by their type."""
    if isinstance(patch, list) and isinstance(base, list):
        fresh = {one["type"]: one for one in patch}
        return [*(one for one in base if one["type"] not in fresh), *fresh.values()]
    if not isinstance(patch, Mapping):
        return patch
    result = dict(base) if isinstance(base, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class LivingApi:
    """One life's client: the methods of `KubeClient` that terwayd uses."""

    def __init__(self, cluster: Cluster, life: Life, reach: Reach) -> None:
        self._cluster = cluster
        self._life = life
        self._reach = reach

    async def get(self, resource: Resource[Any], name: str, *, namespace: str | None = None) -> Any:
        """Return one object, None where there is none."""
        await self._arrive("get", resource)
        found = self._cluster.get(resource.plural, name, namespace or "")
        return None if found is None else msgspec.convert(found, resource.read_as)

    async def list(
        self,
        resource: Resource[Any],
        *,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        page_size: int = 0,
    ) -> Listing[Any]:
        """Return all objects that match."""
        await self._arrive("list", resource)
        found = [
            msgspec.convert(item, resource.read_as)
            for (plural, _), item in self._cluster.objects.items()
            if plural == resource.plural and _matches(item, selector)
        ]
        return Listing(items=tuple(found), resource_version=str(self._cluster.revision))

    async def watch(
        self,
        resource: Resource[Any],
        *,
        since: str,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        timeout_s: int = 300,
    ) -> AsyncGenerator[WatchEvent[Any] | Bookmark, None]:
        """Yield what happens after `since`, until somebody cuts it."""
        await self._arrive("watch", resource)
        cluster, seen, cuts = self._cluster, int(since), self._cluster.cuts
        if seen < cluster.forgotten:
            raise _refusal(410, "Expired", "watch", resource)
        until = asyncio.get_running_loop().time() + min(timeout_s, _WATCH_S)
        while cluster.cuts == cuts and not cluster.is_away:
            if not cluster.is_stalled and not self._reach.is_cut:
                for change in [one for one in cluster.changes if one.revision > seen]:
                    seen = change.revision
                    if change.plural == resource.plural and _matches(change.object, selector):
                        item = msgspec.convert(change.object, resource.read_as)
                        yield WatchEvent(type=change.type, object=item)
            left_s = until - asyncio.get_running_loop().time()
            if left_s <= 0:
                yield Bookmark(resource_version=str(seen))
                return
            await cluster.wait(left_s)
            self._life.go_on()

    async def create(
        self, resource: Resource[Any], body: Any, *, namespace: str | None = None
    ) -> Any:
        """Create an object and return it."""
        await self._arrive("create", resource)
        item = self._cluster.put(resource.plural, msgspec.to_builtins(body))
        return msgspec.convert(item, resource.read_as)

    async def patch(
        self,
        resource: Resource[Any],
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> Any:
        """Change an object and return the result; a conflict where the uid is another."""
        await self._arrive("patch", resource)
        found = self._cluster.get(resource.plural, name, namespace or "")
        if found is None:
            raise _refusal(404, "NotFound", "patch", resource)
        uid = patch.get("metadata", {}).get("uid")
        if uid and uid != found["metadata"].get("uid"):
            raise _refusal(409, "Conflict", "patch", resource)
        item = self._cluster.put(resource.plural, merged(found, patch))
        return msgspec.convert(item, resource.read_as)

    async def _arrive(self, verb: str, resource: Resource[Any]) -> None:
        await asyncio.sleep(API_S)
        self._life.leave(self._life.enter())
        if self._reach.is_cut:
            await asyncio.sleep(_TIMEOUT_S)
            self._life.go_on()
            raise TransientError(f"{verb} {resource.plural}: no answer in {_TIMEOUT_S:g} s")
        if self._cluster.is_away:
            raise TransientError(f"{verb} {resource.plural}: connection refused")
        if self._cluster.errors:
            raise _refusal(self._cluster.errors.pop(0), "Injected", verb, resource)


def _refusal(code: int, reason: str, verb: str, resource: Resource[Any]) -> Exception:
    status = Status(code=code, reason=reason, message="an injected fault")
    return translate(status, tried=f"{verb} {resource.plural}")


def _matches(item: Object, selector: Selector) -> bool:
    """Return whether the field selector is met: the node's name, or the object's own."""
    for term in filter(None, selector.fields.split(",")):
        path, _, value = term.partition("=")
        found: Any = item
        for part in path.split("."):
            found = found.get(part, "") if isinstance(found, Mapping) else ""
        if found != value:
            return False
    return True
