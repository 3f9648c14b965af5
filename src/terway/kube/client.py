"""What can be asked of the Kubernetes API, and what comes back?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from terway.kube.connection import Connection
from terway.kube.rate import RateLimit
from terway.kube.resource import Resource, metadata_of
from terway.kube.transport import Transport
from terway.kube.watch import Bookmark, WatchEvent, read_events
from terway.model.errors import ConflictError, TransientError

T = TypeVar("T")
D = TypeVar("D")

PAGE_SIZE = 500  # of a LIST: 4 MB of ordinary pods, decoded before the next is asked for
FIELD_MANAGER = "terway"


class PatchType(Enum):
    """The four ways to describe a change, by their media type."""

    MERGE = "application/merge-patch+json"  # RFC 7396
    JSON = "application/json-patch+json"  # RFC 6902
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"  # server-side apply; JSON is YAML


class Propagation(Enum):
    """What becomes of the objects that the deleted one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which objects of a collection: label and field selectors in kubectl's notation."""

    labels: str = ""
    fields: str = ""

    def params(self) -> dict[str, str]:
        """Return the query parameters."""
        pairs = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in pairs.items() if value}


EVERYTHING = Selector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A collection at one moment: WATCH from `resource_version` continues from exactly here."""

    items: tuple[T, ...]
    resource_version: str


class KubeClient:
    """A connection to one API server; an async context manager that closes its sockets.

    Nothing is retried here: the caller knows whether it still wants what it asked for. All
    methods raise ConflictError (404, 409, 410), ThrottledError (429), TransientError (5xx, no
    answer) and UsageError (everything else the server refuses, with its message).
    """

    def __init__(
        self, connection: Connection, *, timeout_s: float = 30.0, user_agent: str = "terway"
    ) -> None:
        self.connection = connection
        self._timeout_s = timeout_s
        self._transport = Transport(connection, user_agent=user_agent)
        self._rate: RateLimit | None = None
        self.before_write: Callable[[], None] = _always
        """Asked as the last thing before a change is sent; what it raises is raised instead."""

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._transport.close()

    def limit(self, *, qps: float, burst: int) -> None:
        """Hold requests to a rate from now on; watches that run are not counted."""
        self._rate = RateLimit(qps=qps, burst=burst)

    async def get(
        self, resource: Resource[T], name: str, *, namespace: str | None = None
    ) -> T | None:
        """Return one object, None where there is none."""
        path = resource.path(namespace=namespace, name=name)
        try:
            return _decode(resource.decoder, await self.request("GET", path), f"get {path}")
        except ConflictError as error:
            if error.code == "NotFound":
                return None
            raise

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        page_size: int = PAGE_SIZE,
    ) -> Listing[T]:
        """Return all objects of one namespace or of all, read page by page.

        Pages are of one moment. ConflictError with `errors.is_expired` when it took so long that
        the server forgot that moment: start over.
        """
        path = resource.path(namespace=namespace)
        params = {**selector.params(), "limit": str(page_size)}
        items: list[T] = []
        while True:
            body = await self.request("GET", path, params=params)
            page = _decode(resource.page_decoder, body, f"list {path}")
            found = page.items or ()
            items += found if resource.shrink is None else map(resource.shrink, found)
            if not page.metadata.continue_:
                return Listing(items=tuple(items), resource_version=page.metadata.resource_version)
            params["continue"] = page.metadata.continue_

    async def watch(
        self,
        resource: Resource[T],
        *,
        since: str,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
        timeout_s: int = 300,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent[T] | Bookmark, None]:
        """Yield what happens after the resourceVersion `since`, bookmarks included.

        `on_open` is called once the server has answered: from then on, silence says that nothing
        has happened.

        Ends when the server closes the watch, at the latest after `timeout_s`: call again from
        the last resourceVersion seen. ConflictError with `errors.is_expired`: list again.
        """
        path = resource.path(namespace=namespace)
        params = {
            **selector.params(),
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
        }
        tried = f"watch {path}"
        async with self._transport.send(
            "GET", path, params=params, timeout_s=timeout_s + 30.0
        ) as answer:
            on_open()
            events = read_events(answer.content.iter_any(), resource, tried=tried)
            async with aclosing(events):
                async for event in events:
                    yield event

    async def create(
        self, resource: Resource[T], body: T | Mapping[str, Any], *, namespace: str | None = None
    ) -> T:
        """Create an object and return it. ConflictError with code AlreadyExists if it is there."""
        namespace = namespace or metadata_of(body).namespace or None
        path = resource.path(namespace=namespace)
        params = {"fieldManager": FIELD_MANAGER}
        content = encode_object(resource, body)
        answer = await self.request("POST", path, params=params, content=content)
        return _decode(resource.decoder, answer, f"create {path}")

    async def update(
        self, resource: Resource[T], body: T | Mapping[str, Any], *, subresource: str = ""
    ) -> T:
        """Replace an object by `body`: fields that `body` does not have are lost.

        So pass a dict read whole, or a kind whose fields we all declare (Lease, ConfigMap data of
        ours); patch everything else. With a resourceVersion in it, ConflictError (code Conflict)
        when somebody else was faster.
        """
        metadata = metadata_of(body)
        path = resource.path(
            namespace=metadata.namespace, name=metadata.name, subresource=subresource
        )
        params = {"fieldManager": FIELD_MANAGER}
        content = encode_object(resource, body)
        answer = await self.request("PUT", path, params=params, content=content)
        return _decode(resource.decoder, answer, f"update {path}")

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> T:
        """Change an object and return the result. ConflictError (NotFound) where there is none.

        For PatchType.APPLY, `patch` is all that we want to own of the object; `force` takes
        fields from other managers. ConflictError (Conflict) without it when they disagree.
        """
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        params = {"fieldManager": FIELD_MANAGER}
        if kind is PatchType.APPLY:
            params["force"] = "true" if force else "false"
            if isinstance(patch, Mapping):
                patch = {"apiVersion": resource.api_version, "kind": resource.kind, **patch}
        answer = await self.request(
            "PATCH", path, params=params, content=msgspec.json.encode(patch), media_type=kind.value
        )
        return _decode(resource.decoder, answer, f"patch {path}")

    async def delete(
        self,
        resource: Resource[T],
        name: str,
        *,
        namespace: str | None = None,
        grace_s: int | None = None,
        uid: str = "",
        propagation: Propagation | None = None,
    ) -> bool:
        """Delete an object; False where there was none. Safe to repeat.

        `grace_s` overrides a pod's own grace period; 0 is how a kubelet confirms that it is gone.
        With `uid`, ConflictError when the name belongs to another object by now.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if uid:
            options["preconditions"] = {"uid": uid}
        if propagation is not None:
            options["propagationPolicy"] = propagation.value
        path = resource.path(namespace=namespace, name=name)
        try:
            await self.request("DELETE", path, content=msgspec.json.encode(options))
        except ConflictError as error:
            if error.code == "NotFound":
                return False
            raise
        return True

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        """Make any request and return its body: for what has no method of its own."""
        if self._rate is not None:
            await self._rate.take()
        if method != "GET":
            self.before_write()
        async with self._transport.send(
            method,
            path,
            params=params,
            content=content,
            media_type=media_type,
            timeout_s=self._timeout_s,
        ) as answer:
            return await answer.read()


def _always() -> None:
    pass


def _decode(decoder: msgspec.json.Decoder[D], body: bytes, tried: str) -> D:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise TransientError(f"{tried}: cannot read the answer {body[:120]!r}: {error}") from error


def encode_object(resource: Resource[Any], body: object) -> bytes:
    """Return `body` as JSON, with `apiVersion` and `kind` in it, as the API wants to be told."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return msgspec.json.encode(
        {"apiVersion": resource.api_version, "kind": resource.kind, **fields}
    )
