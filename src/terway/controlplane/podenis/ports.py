"""What do these controllers need of the outside? The edges fit, and so do tests' own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from terway.kube.client import PatchType
from terway.kube.resource import Resource
from terway.kube.types import ObjectReference
from terway.model.eni import ENI, VSwitch
from terway.model.ids import ClientToken, ENIId, InstanceId, SecurityGroupId, VSwitchId

T = TypeVar("T")
Tags = Sequence[tuple[str, str]]


class KubePort(Protocol):
    """The calls of `terway.kube.client.KubeClient` that are made; it documents each."""

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

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> T:
        """Change an object and return the result."""
        ...

    async def delete(
        self, resource: Resource[T], name: str, *, namespace: str | None = None, uid: str = ""
    ) -> bool:
        """Delete an object; False where there was none."""
        ...


class CloudPort(Protocol):
    """The calls of `terway.cloud.ecs.EcsClient` that are made; it documents each."""

    async def create_eni(
        self,
        *,
        vswitch_id: VSwitchId,
        security_group_ids: Sequence[SecurityGroupId],
        ipv4_count: int,
        ipv6_count: int = 0,
        is_erdma: bool = False,
        tags: Tags = (),
        description: str = "",
        resource_group_id: str = "",
        delete_on_release: bool = True,
        token: ClientToken,
    ) -> ENI:
        """Create an ENI; safe to repeat with the same token."""
        ...

    async def attach_eni(
        self, eni_id: ENIId, instance_id: InstanceId, *, trunk_id: ENIId | None = None
    ) -> None:
        """Begin to attach an ENI."""
        ...

    async def detach_eni(
        self, eni_id: ENIId, instance_id: InstanceId, *, trunk_id: ENIId | None = None
    ) -> None:
        """Begin to detach an ENI."""
        ...

    async def delete_eni(self, eni_id: ENIId) -> None:
        """Begin to delete an ENI; success when it is gone."""
        ...

    async def describe_enis(
        self, *, eni_ids: Sequence[ENIId] = (), tags: Tags = ()
    ) -> tuple[ENI, ...]:
        """Return the ENIs that match every given filter."""
        ...

    async def describe_vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        ...


class Recorder(Protocol):
    """Who records events; `terway.kube.events.EventRecorder` fits."""

    def record(self, target: ObjectReference, type_: str, reason: str, message: str) -> None:
        """Queue an event; never waits, never fails."""
        ...
