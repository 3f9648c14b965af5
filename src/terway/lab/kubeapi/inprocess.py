"""The agent's and the control plane's own client on the emulated API server, without a wire.

For tests on a virtual clock and for simulations: what `KubeClient` has that controllers, informers
and recorders use. Schemas, subresources, conflicts and finalizers are the server's own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from terway.kube.client import EVERYTHING, FIELD_MANAGER, Listing, PatchType, Selector
from terway.kube.errors import Status, translate
from terway.kube.resource import Resource, metadata_of
from terway.kube.watch import Bookmark, EventType, WatchEvent
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.resources import ResourceDef
from terway.lab.kubeapi.selectors import Predicate, parse_selector
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.store import Change, ForgottenError, Stored
from terway.lab.kubeapi.writes import WriteOptions
from terway.model.errors import TransientError, VpcError

_OPTIONS = WriteOptions(field_manager=FIELD_MANAGER)


class InProcessKube:
    """Takes the place of `KubeClient`. `delay_s` passes before each answer.

    While `is_away`, nothing is answered; `cut` ends the watches, as a server that goes does.
    `lag_s` is how late watches tell, `stale_by` how many revisions ago lists are of; of the next
    `lost` writes the answers get lost, after they took effect.
    """

    def __init__(self, state: ClusterState, *, delay_s: float = 0.0) -> None:
        self._state = state
        self._delay_s = delay_s
        self._watches: set[asyncio.Event] = set()
        self.is_away = False
        self.lag_s = 0.0
        self.stale_by = 0
        self.lost = 0
        self.calls = 0

    def cut(self) -> None:
        """End all watches."""
        for woken in self._watches:
            woken.set()

    async def get(self, resource: Resource[Any], name: str, *, namespace: str | None = None) -> Any:
        """Return one object, None where there is none."""
        row = await self._arrive(resource)
        found = self._state.find(row, name, namespace or "")
        return None if found is None else msgspec.convert(found, resource.read_as)

    async def list(
        self,
        resource: Resource[Any],
        *,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        page_size: int = 0,
    ) -> Listing[Any]:
        """Return all objects that match, of this moment."""
        row = await self._arrive(resource)
        matches = parse_selector(row, labels=selector.labels, fields=selector.fields)
        revision = self._state.store.revision
        if self.stale_by:
            revision = max(1, revision - self.stale_by)
            before = self._state.store.at(row, revision, namespace or "")
            found = [one.object for one in before.values() if matches(one.object)]
        else:
            found = self._state.list(row, namespace or "", matches)
        items = (msgspec.convert(one, resource.read_as) for one in found)
        shrink = resource.shrink
        return Listing(
            items=tuple(items if shrink is None else map(shrink, items)),
            resource_version=str(revision),
        )

    async def watch(
        self,
        resource: Resource[Any],
        *,
        since: str,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        timeout_s: int = 300,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent[Any] | Bookmark, None]:
        """Yield what happens after `since`, until it is cut."""
        row = await self._arrive(resource)
        matches = parse_selector(row, labels=selector.labels, fields=selector.fields)
        waiting = deque(_missed(self._state, int(since), row))
        woken = asyncio.Event()
        cut = asyncio.Event()

        def take(change: Change) -> None:
            if change.resource is row.home:
                waiting.append(change)
                woken.set()

        forget = self._state.store.on_change(take)
        self._watches.add(cut)
        on_open()
        try:
            seen = int(since)
            while not cut.is_set() and not self.is_away:
                while waiting:
                    await asyncio.sleep(self.lag_s)
                    change = waiting.popleft()
                    event = _event(change, row, resource, matches, namespace)
                    if change.revision > seen and event is not None:
                        yield event
                woken.clear()
                if not await _either(woken, cut, timeout_s):
                    yield Bookmark(resource_version=str(self._state.store.revision))
                    return
        finally:
            forget()
            self._watches.discard(cut)

    async def create(
        self, resource: Resource[Any], body: Any, *, namespace: str | None = None
    ) -> Any:
        """Create an object and return it."""
        row = await self._arrive(resource)
        namespace = namespace or metadata_of(body).namespace
        whole = self._whole(resource, body)
        return self._do(
            resource,
            "create",
            lambda: self._state.create(row, whole, namespace=namespace, options=_OPTIONS),
        )

    async def update(self, resource: Resource[Any], body: Any, *, subresource: str = "") -> Any:
        """Replace an object, or a subresource of it."""
        row = await self._arrive(resource)
        meta = metadata_of(body)
        whole = self._whole(resource, body)
        return self._do(
            resource,
            f"update {meta.name}",
            lambda: self._state.update(
                row, meta.name, meta.namespace, whole, subresource=subresource, options=_OPTIONS
            ),
        )

    async def patch(
        self,
        resource: Resource[Any],
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> Any:
        """Change an object and return the result."""
        row = await self._arrive(resource)
        if kind is PatchType.APPLY and isinstance(patch, Mapping):
            patch = {"apiVersion": resource.api_version, "kind": resource.kind, **patch}
        options = WriteOptions(field_manager=FIELD_MANAGER, force=force)
        changed = _on_the_wire(patch)
        return self._do(
            resource,
            f"patch {name}",
            lambda: self._state.patch(
                row,
                name,
                namespace or "",
                changed,
                kind=kind.value,
                subresource=subresource,
                options=options,
            ),
        )

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        *,
        namespace: str | None = None,
        grace_s: int | None = None,
        uid: str = "",
        propagation: object = None,
    ) -> bool:
        """Delete an object; False where there was none."""
        row = await self._arrive(resource)
        options = DeleteOptions(grace_s=grace_s, uid=uid)
        try:
            self._state.delete(row, name, namespace or "", options)
        except ApiError as error:
            if error.reason == "NotFound":
                return False
            raise _refusal(error, f"delete {resource.plural}/{name}") from error
        return True

    async def _arrive(self, resource: Resource[Any]) -> ResourceDef:
        self.calls += 1
        await asyncio.sleep(self._delay_s)
        if self.is_away:
            raise TransientError(f"{resource.plural}: connection refused")
        return self._row(resource)

    def _row(self, resource: Resource[Any]) -> ResourceDef:
        row = self._state.table.at(resource.group, resource.version, resource.plural)
        if row is None:
            raise translate(Status(code=404, reason="NotFound"), tried=resource.plural)
        return row

    def _whole(self, resource: Resource[Any], body: Any) -> dict[str, Any]:
        fields = _on_the_wire(body)
        return {"apiVersion": resource.api_version, "kind": resource.kind, **fields}

    def _do(self, resource: Resource[Any], tried: str, write: Callable[[], Stored]) -> Any:
        try:
            stored = write()
        except ApiError as error:
            raise _refusal(error, f"{tried} of {resource.plural}") from error
        if self.lost:
            self.lost -= 1
            raise TransientError(f"{tried} of {resource.plural}: the answer was lost")
        return msgspec.convert(stored.object, resource.read_as)


def _on_the_wire(value: Any) -> Any:
    """Return `value` as a server decodes it: tuples are lists, values are dicts."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _missed(state: ClusterState, since: int, row: ResourceDef) -> list[Change]:
    try:
        missed = state.store.since(since)
    except ForgottenError as error:
        text = f"watch {row.plural}: too old resource version: {since}"
        raise translate(Status(code=410, reason="Expired"), tried=text) from error
    return [change for change in missed if change.resource is row.home]


def _refusal(error: ApiError, tried: str) -> VpcError:
    status = Status(code=error.code, reason=error.reason, message=error.message)
    return translate(status, tried=tried)


def _event(
    change: Change,
    row: ResourceDef,
    resource: Resource[Any],
    matches: Predicate,
    namespace: str | None,
) -> WatchEvent[Any] | None:
    """Return a change as a watcher with this selector sees it."""
    if namespace and change.key.namespace != namespace:
        return None
    new = change.new.seen_as(row).object
    was = change.old is not None and matches(change.old.seen_as(row).object)
    is_there = not change.is_deletion and matches(new)
    if not was and not is_there:
        return None
    kind = EventType.MODIFIED if was and is_there else EventType.ADDED
    if not is_there:
        kind = EventType.DELETED
    return WatchEvent(type=kind, object=msgspec.convert(new, resource.read_as))


async def _either(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> bool:
    """Return whether one of two events came within `timeout_s`."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
