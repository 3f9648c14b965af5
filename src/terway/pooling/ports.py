"""Which calls of the cloud does a pool make? `terway.cloud.ecs.EcsClient` happens to fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    SecurityGroupId,
    VSwitchId,
)

Tags = Sequence[tuple[str, str]]


class CloudPort(Protocol):
    """The calls of `terway.cloud.ecs.EcsClient` that the pool makes; it documents each."""

    async def describe_enis(
        self,
        *,
        instance_id: InstanceId | None = None,
        eni_ids: Sequence[ENIId] = (),
        type: ENIType | None = None,  # noqa: A002 - the API's own name
        status: ENIStatus | None = None,
        tags: Tags = (),
    ) -> tuple[ENI, ...]:
        """Return all ENIs that match every given filter."""
        ...

    async def create_eni(
        self,
        *,
        vswitch_id: VSwitchId,
        security_group_ids: Sequence[SecurityGroupId],
        ipv4_count: int,
        ipv6_count: int = 0,
        ipv4_prefixes: int = 0,
        ipv6_prefixes: int = 0,
        is_erdma: bool = False,
        is_trunk: bool = False,
        tags: Tags = (),
        description: str = "",
        resource_group_id: str = "",
        delete_on_release: bool = True,
        token: ClientToken,
    ) -> ENI:
        """Create an ENI; safe to repeat with the same token."""
        ...

    async def attach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        """Begin to attach an ENI."""
        ...

    async def detach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        """Begin to detach an ENI."""
        ...

    async def delete_eni(self, eni_id: ENIId) -> None:
        """Begin to delete an ENI; ConflictError while it is attached."""
        ...

    async def assign_ipv4(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Address, ...]:
        """Give an ENI more addresses; safe to repeat with the same token."""
        ...

    async def assign_ipv6(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Address, ...]:
        """Give an ENI more addresses; safe to repeat with the same token."""
        ...

    async def unassign_ipv4(self, eni_id: ENIId, addresses: Iterable[IPv4Address]) -> None:
        """Take addresses from an ENI."""
        ...

    async def unassign_ipv6(self, eni_id: ENIId, addresses: Iterable[IPv6Address]) -> None:
        """Take addresses from an ENI."""
        ...

    async def assign_ipv4_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Network, ...]:
        """Give an ENI more ranges of 16 addresses; safe to repeat with the same token."""
        ...

    async def assign_ipv6_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Network, ...]:
        """Give an ENI more /80 ranges; safe to repeat with the same token."""
        ...

    async def unassign_ipv4_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv4Network]) -> None:
        """Take ranges from an ENI."""
        ...

    async def unassign_ipv6_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv6Network]) -> None:
        """Take ranges from an ENI."""
        ...

    async def set_security_groups(
        self, eni_id: ENIId, security_group_ids: Sequence[SecurityGroupId]
    ) -> None:
        """Put an ENI into these security groups, and out of all others."""
        ...

    async def describe_vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        ...
