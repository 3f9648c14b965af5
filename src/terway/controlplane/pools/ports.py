"""What do the pools need of the outside? The edges, and in-memory ones of tests, happen to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from terway.kube.client import PatchType
from terway.kube.resource import ObjectKey, Resource
from terway.kube.types import ObjectReference
from terway.model.eni import ENI, InstanceLimits, VSwitch
from terway.model.ids import ENIId, VpcId, VSwitchId
from terway.pooling.ports import CloudPort

T = TypeVar("T")
Wake = Callable[[ObjectKey], None]


class KubePort(Protocol):
    """The calls of `terway.kube.client.KubeClient` that pools make; it documents each."""

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

    async def delete(self, resource: Resource[T], name: str) -> bool:
        """Delete an object; False where there was none."""
        ...


class FleetPort(CloudPort, Protocol):
    """The calls of `terway.cloud.ecs.EcsClient` that pools of many nodes make."""

    async def page_of_enis(
        self, *, vpc_id: VpcId | None, token: str
    ) -> tuple[tuple[ENI, ...], str]:
        """Return up to 500 ENIs, and the token of the next page; empty after the last."""
        ...

    async def describe_instance_types(self, types: Sequence[str]) -> tuple[InstanceLimits, ...]:
        """Return the limits of `types` that the cloud knows."""
        ...


class Readings(Protocol):
    """Readings of the cloud, shared between nodes."""

    async def enis_of(self, instance_id: str) -> tuple[tuple[ENI, ...], tuple[ENI, ...]]:
        """Return the ENIs that an instance has, and those made for it that nobody has."""
        ...

    async def attached(self, eni_id: ENIId, *, who: str) -> None:
        """Return when an ENI is in use; TransientError when it does not become so."""
        ...

    async def vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        ...


class Recorder(Protocol):
    """Who records events; `terway.kube.events.EventRecorder` fits."""

    def record(self, target: ObjectReference, type_: str, reason: str, message: str) -> None:
        """Queue an event; never waits, never fails."""
        ...
