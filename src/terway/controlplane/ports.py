"""What do all controllers need of the Kubernetes API? The edges fit, and so do tests' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from terway.kube.client import PatchType
from terway.kube.resource import Resource
from terway.kube.types import ObjectReference

T = TypeVar("T")


class KubePort(Protocol):
    """The calls of `terway.kube.client.KubeClient` that controllers make; it documents each."""

    async def get(
        self, resource: Resource[T], name: str, *, namespace: str | None = None
    ) -> T | None:
        """Return one object, None where there is none."""
        ...

    async def create(
        self, resource: Resource[T], body: T | Mapping[str, Any], *, namespace: str | None = None
    ) -> T:
        """Create an object and return it."""
        ...

    async def update(
        self, resource: Resource[T], body: T | Mapping[str, Any], *, subresource: str = ""
    ) -> T:
        """Replace an object, or its subresource; ConflictError when somebody was faster."""
        ...

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
        """Change an object and return the result."""
        ...

    async def delete(
        self, resource: Resource[T], name: str, *, namespace: str | None = None, uid: str = ""
    ) -> bool:
        """Delete an object; False where there was none."""
        ...


class Recorder(Protocol):
    """Who records events; `terway.kube.events.EventRecorder` fits."""

    def record(self, target: ObjectReference, type_: str, reason: str, message: str) -> None:
        """Queue an event; never waits, never fails."""
        ...
