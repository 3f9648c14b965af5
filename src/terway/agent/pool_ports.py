"""What does the pool's loop need of the outside, and what does it show of itself?

The ports are named here, beside the loop that needs them; the edges happen to fit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

from terway.ipam.values import ENIPhase
from terway.model.address import IPAddress
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VSwitchId,
)
from terway.store.records import Batch, Journal

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


class StorePort(Protocol):
    """The journal. `terway.store` has the real one and a fake."""

    def write(self, batch: Batch) -> Awaitable[None]:
        """Queue `batch` at once, behind all earlier ones; done when it is on the disk."""
        ...

    async def load(self) -> Journal:
        """Return everything that the journal holds."""
        ...


class LinkPort(Protocol):
    """The agent's half of an ENI's life: its link in the kernel."""

    async def wait_eni_ready(self, mac: MacAddress) -> None:
        """Return when the link with `mac` is there and configured; raise TransientError if not.

        `PoolService.enis()` already lists the ENI, so that its vSwitch can be looked up.
        """
        ...


class ConntrackPort(Protocol):
    """The kernel's connection tracking."""

    async def delete_entries(self, addresses: Iterable[IPAddress]) -> None:
        """Delete every entry in which one of `addresses` is an end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedENI:
    """An ENI of the pool. `vswitch` is None until the cloud has described it."""

    id: ENIId
    mac: MacAddress
    phase: ENIPhase
    vswitch_id: VSwitchId
    vswitch: VSwitch | None
    is_gone: bool = False  # the cloud no longer knows it, although pods have addresses of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """What the pool could do now, and what it holds. Addresses are counted, not pairs.

    `can_add` says whether an ADD would be answered or could at least wait with hope; `reason`
    says why not.
    """

    can_add: bool
    reason: str
    capacity: int  # pods at most, with the configured limits
    free: int
    bound: int
    cooling: int
    retiring: int
    coming: int  # asked of the cloud, not answered yet
    waiting: int  # ADDs that wait for an address
    missing: tuple[IPAddress, ...]  # bound here, but the cloud no longer shows them
    enis: dict[ENIPhase, int]
