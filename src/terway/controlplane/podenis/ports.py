"""What do these controllers need of the outside? The edges fit, and so do tests' own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from terway.model.eni import ENI, VSwitch
from terway.model.ids import ClientToken, ENIId, InstanceId, SecurityGroupId, VSwitchId

T = TypeVar("T")
Tags = Sequence[tuple[str, str]]


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

    async def existing_security_groups(
        self, ids: Sequence[SecurityGroupId]
    ) -> frozenset[SecurityGroupId]:
        """Return those of up to 10 `ids` that exist."""
        ...

    async def describe_vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        ...
