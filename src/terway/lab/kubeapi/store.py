"""What does the cluster hold, and what happened to it, in which order?

One revision counts every change of every object, as etcd's does: revisions are dense, so the
history is a list and "what came after N" a slice of it. Nothing here waits; a watcher asks for
what came after its revision, and is told by `on_change` when to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from terway.lab.kubeapi.customresources.pruning import present
from terway.lab.kubeapi.objects import Object, name_of, namespace_of
from terway.lab.kubeapi.resources import ResourceDef


class Key(NamedTuple):
    """The name of an object among its kind."""

    namespace: str
    name: str


def key_of(obj: Object) -> Key:
    """Return the object's key."""
    return Key(namespace_of(obj), name_of(obj))


@dataclass(slots=True, eq=False)
class Stored:
    """One version of an object; its JSON is made once, however many watchers want it."""

    object: Object
    row: ResourceDef | None = None  # through which it was written
    _json: bytes = b""
    _views: dict[ResourceDef, Stored] = field(default_factory=dict)

    @property
    def json(self) -> bytes:
        """Return the object as the wire has it."""
        if not self._json:
            self._json = msgspec.json.encode(self.object)
        return self._json

    def seen_as(self, resource: ResourceDef) -> Stored:
        """Return the object as this version of its kind has it; only custom kinds have several."""
        if resource.custom is None or self.row is resource:
            return self
        if resource not in self._views:
            seen = present(self.object, resource.custom.schema, resource.api_version)
            self._views[resource] = Stored(seen)
        return self._views[resource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one revision did. `new` of a deletion is the last state, with the new revision."""

    revision: int
    resource: ResourceDef
    key: Key
    old: Stored | None
    new: Stored
    is_deletion: bool = False


_Asked = tuple[ResourceDef, int, str]


class ForgottenError(Exception):
    """The history does not reach back to the revision asked for."""


class Store:
    """All objects of all kinds, with a bounded history of `history_limit` changes."""

    def __init__(self, *, history_limit: int = 10_000) -> None:
        self.revision = 1
        self._objects: dict[ResourceDef, dict[Key, Stored]] = {}
        self._history: list[Change] = []
        self._limit = history_limit
        self._listeners: list[Callable[[Change], None]] = []
        self._listed: tuple[_Asked, dict[Key, Stored], list[Key]] | None = None

    def get(self, resource: ResourceDef, key: Key) -> Stored | None:
        """Return an object's current version, or None."""
        held = self._objects.get(resource.home, {}).get(key)
        return held.seen_as(resource) if held else None

    def items(self, resource: ResourceDef, namespace: str = "") -> Iterator[Stored]:
        """Iterate over the objects of a kind, of one namespace or all, in no order."""
        for key, stored in self._objects.get(resource.home, {}).items():
            if not namespace or key.namespace == namespace:
                yield stored.seen_as(resource)

    def put(self, resource: ResourceDef, obj: Object) -> Stored:
        """Store an object, new or changed; its resourceVersion becomes the new revision."""
        key = key_of(obj)
        home = resource.home
        held = self._objects.setdefault(home, {})
        stored = self._next(obj, resource)
        old = held.get(key)
        held[key] = stored
        self._log(Change(revision=self.revision, resource=home, key=key, old=old, new=stored))
        return stored

    def remove(self, resource: ResourceDef, key: Key) -> Stored:
        """Remove an object and return its last state, under the revision of its removal."""
        home = resource.home
        old = self._objects[home].pop(key)
        last = self._next(old.object, old.row)
        self._log(
            Change(
                revision=self.revision,
                resource=home,
                key=key,
                old=old,
                new=last,
                is_deletion=True,
            )
        )
        return last

    def _next(self, obj: Object, resource: ResourceDef | None) -> Stored:
        self.revision += 1
        version = str(self.revision)
        versioned = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
        return Stored(versioned, row=resource)

    def _log(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) >= 2 * self._limit:  # cut in halves: a slice per limit changes
            del self._history[: -self._limit]
        for listener in self._listeners:
            listener(change)

    def since(self, revision: int) -> list[Change]:
        """Return all changes after `revision`, in order. ForgottenError if it is too old."""
        count = self.revision - revision
        if count <= 0:
            return []
        if count > len(self._history):
            raise ForgottenError
        return self._history[-count:]

    def forget(self) -> None:
        """Lose the history, as compaction does: every watch that is behind must list again."""
        self._history.clear()

    def at(self, resource: ResourceDef, revision: int, namespace: str = "") -> dict[Key, Stored]:
        """Return a kind's objects as they were at `revision`. ForgottenError if it is too old."""
        found = {key_of(stored.object): stored for stored in self.items(resource, namespace)}
        for change in reversed(self.since(revision)):
            if change.resource is not resource.home or namespace not in ("", change.key.namespace):
                continue
            if change.old is None:
                found.pop(change.key, None)
            else:
                found[change.key] = change.old.seen_as(resource)
        return found

    def listed_at(
        self, resource: ResourceDef, revision: int, namespace: str = ""
    ) -> tuple[Mapping[Key, Stored], Sequence[Key]]:
        """Return the objects as `at` does, and their keys in order.

        The last answer is kept: who reads 100,000 objects page by page asks 200 times. It is
        forgotten as the history is.
        """
        self.since(revision)
        asked = (resource, revision, namespace)
        if self._listed is None or self._listed[0] != asked:
            found = self.at(resource, revision, namespace)
            self._listed = asked, found, sorted(found)
        return self._listed[1:]

    def on_change(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` after each change, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
