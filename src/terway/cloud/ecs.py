"""Which calls does the agent make to the cloud, and what do they promise?

`EcsClient` has the whole of it: ENIs and their addresses, vSwitches, instance types. Each method
is one action (and its pages); each says whether repeating it is safe. Every method raises
ThrottledError, TransientError and UsageError as `terway.cloud.errors` explains; docstrings name
the others. Source: OpenAPI ECS 2014-05-26 and VPC 2016-04-28.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from terway.cloud import wire
from terway.cloud.credentials import CredentialsProvider
from terway.cloud.openapi import Caller, OnCall, OpenAPI, Product, open_session
from terway.cloud.query import Value
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENI, ENIStatus, ENIType, InstanceLimits, VSwitch
from terway.model.errors import ConflictError
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    RegionId,
    SecurityGroupId,
    VSwitchId,
)

ECS_VERSION = "2014-05-26"
VPC_VERSION = "2016-04-28"
PAGE_SIZE = 500  # the most that DescribeNetworkInterfaces gives at once
TYPES_PAGE_SIZE = 100  # the most that DescribeInstanceTypes gives at once
MAX_ENI_IDS = 100  # per call
MAX_INSTANCE_TYPES = 10  # per call

Answer = TypeVar("Answer")
Tags = Sequence[tuple[str, str]]

_ENI_GONE = "InvalidEniId.NotFound"
_INSTANCE_GONE = "InvalidEcsId.NotFound"
_ADDRESS_GONE = "InvalidIp.IpUnassigned"


@asynccontextmanager
async def open_ecs_client(
    *,
    region_id: RegionId,
    credentials: CredentialsProvider,
    ecs_endpoint: str = "",
    vpc_endpoint: str = "",
) -> AsyncIterator[EcsClient]:
    """Open a client with a connection pool of its own.

    Endpoints are host names or URLs; ``http://…`` is taken as it is, everything else is https.
    Empty means the region's endpoint inside the VPC.
    """
    async with open_session() as session:
        yield EcsClient(
            OpenAPI(session, credentials),
            region_id=region_id,
            ecs_endpoint=ecs_endpoint or f"ecs-vpc.{region_id}.aliyuncs.com",
            vpc_endpoint=vpc_endpoint or f"vpc-vpc.{region_id}.aliyuncs.com",
        )


class EcsClient:
    """The agent's client of the cloud, for one region."""

    def __init__(
        self, openapi: Caller, *, region_id: RegionId, ecs_endpoint: str, vpc_endpoint: str
    ) -> None:
        self._openapi = openapi
        self._region_id = region_id
        self._ecs = Product(endpoint=ecs_endpoint, version=ECS_VERSION)
        self._vpc = Product(endpoint=vpc_endpoint, version=VPC_VERSION)

    def observe(self, on_call: OnCall) -> None:
        """Have `on_call` hear of each call from now on; of the real API's only."""
        if isinstance(self._openapi, OpenAPI):
            self._openapi.on_call = on_call

    async def describe_enis(
        self,
        *,
        instance_id: InstanceId | None = None,
        eni_ids: Sequence[ENIId] = (),
        type: ENIType | None = None,  # noqa: A002 - the API's own name
        status: ENIStatus | None = None,
        tags: Tags = (),
    ) -> tuple[ENI, ...]:
        """Return all ENIs that match every given filter, from all pages."""
        filters: dict[str, Value] = {
            "InstanceId": instance_id,
            "Type": type and type.value,
            "Status": status and status.value,
            "Tag": _tags(tags),
        }
        found: list[ENI] = []
        for batch in _batches(eni_ids, MAX_ENI_IDS):
            async for page in self._eni_pages({**filters, "NetworkInterfaceId": batch}):
                found += map(wire.parse_eni, page.network_interface_sets.network_interface_set)
        return tuple(found)

    async def _eni_pages(
        self, parameters: dict[str, Value]
    ) -> AsyncIterator[wire.NetworkInterfacesPage]:
        parameters = {**parameters, "MaxResults": PAGE_SIZE}
        while True:
            page = await self._call_ecs(
                "DescribeNetworkInterfaces", parameters, wire.NetworkInterfacesPage
            )
            yield page
            if not page.next_token:
                return
            parameters = {**parameters, "NextToken": page.next_token}

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
        """Create an ENI with `ipv4_count` IPv4 addresses, its primary one included.

        Of a family it has secondary addresses or prefixes, not both, at first. `is_erdma` makes
        one for RDMA.

        Safe to repeat with the same `token`: the cloud returns the first answer. If cancelled,
        the ENI may exist all the same; a repeat with the token finds it.

        Raises CapacityError when the vSwitch is out of addresses or a quota is reached.
        """
        parameters: dict[str, Value] = {
            "VSwitchId": vswitch_id,
            "SecurityGroupIds": security_group_ids,
            "SecondaryPrivateIpAddressCount": ipv4_count - 1 or None,
            "Ipv6AddressCount": ipv6_count or None,
            "Ipv4PrefixCount": ipv4_prefixes or None,
            "Ipv6PrefixCount": ipv6_prefixes or None,
            "NetworkInterfaceTrafficMode": "HighPerformance" if is_erdma else None,
            "Tag": _tags(tags),
            "Description": description or None,
            "ResourceGroupId": resource_group_id or None,
            "DeleteOnRelease": delete_on_release,
            "ClientToken": token,
        }
        answer = await self._call_ecs("CreateNetworkInterface", parameters, wire.NetworkInterface)
        return wire.parse_eni(answer)

    async def attach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        """Begin to attach an ENI; it is InUse some seconds later.

        Raises CapacityError when the instance has all the ENIs of its type, ConflictError when
        the ENI is not Available or either is gone.
        """
        await self._call_ecs(
            "AttachNetworkInterface",
            {"NetworkInterfaceId": eni_id, "InstanceId": instance_id},
            wire.Done,
        )

    async def detach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        """Begin to detach an ENI; it is Available some seconds later.

        Success when the ENI or the instance is gone. Raises ConflictError when the ENI is in
        another state than InUse.
        """
        await self._call_until_gone(
            "DetachNetworkInterface",
            {"NetworkInterfaceId": eni_id, "InstanceId": instance_id},
            gone=(_ENI_GONE, _INSTANCE_GONE),
        )

    async def delete_eni(self, eni_id: ENIId) -> None:
        """Begin to delete an ENI; success when it is gone.

        Raises ConflictError while it is attached.
        """
        await self._call_until_gone(
            "DeleteNetworkInterface", {"NetworkInterfaceId": eni_id}, gone=(_ENI_GONE,)
        )

    async def assign_ipv4(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Address, ...]:
        """Give `count` more secondary addresses to an ENI and return them.

        Safe to repeat with the same `token`. If cancelled, the addresses may have been given all
        the same: the next reading of the ENI shows them.

        Raises CapacityError when the vSwitch is out of addresses or the ENI is full.
        """
        answer = await self._call_ecs(
            "AssignPrivateIpAddresses",
            {
                "NetworkInterfaceId": eni_id,
                "SecondaryPrivateIpAddressCount": count,
                "ClientToken": token,
            },
            wire.AssignedIPv4,
        )
        given = answer.assigned_private_ip_addresses_set.private_ip_set.private_ip_address
        return tuple(map(IPv4Address, given))

    async def assign_ipv6(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Address, ...]:
        """Give `count` (at most 10) more IPv6 addresses to an ENI; as `assign_ipv4` else."""
        answer = await self._call_ecs(
            "AssignIpv6Addresses",
            {"NetworkInterfaceId": eni_id, "Ipv6AddressCount": count, "ClientToken": token},
            wire.AssignedIPv6,
        )
        return tuple(map(IPv6Address, answer.ipv6_sets.ipv6_address))

    async def assign_ipv4_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Network, ...]:
        """Give an ENI `count` (at most 10) more /28 ranges; as `assign_ipv4` else.

        Each takes the room of one address on the ENI, and 16 whole addresses of the vSwitch.
        """
        answer = await self._call_ecs(
            "AssignPrivateIpAddresses",
            {"NetworkInterfaceId": eni_id, "Ipv4PrefixCount": count, "ClientToken": token},
            wire.AssignedIPv4,
        )
        given = answer.assigned_private_ip_addresses_set.ipv4_prefix_set.ipv4_prefixes
        return tuple(map(IPv4Network, given))

    async def assign_ipv6_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Network, ...]:
        """Give an ENI `count` (at most 10) more /80 ranges; as `assign_ipv4` else."""
        answer = await self._call_ecs(
            "AssignIpv6Addresses",
            {"NetworkInterfaceId": eni_id, "Ipv6PrefixCount": count, "ClientToken": token},
            wire.AssignedIPv6,
        )
        return tuple(map(IPv6Network, answer.ipv6_prefix_sets.ipv6_prefix))

    async def set_security_groups(
        self, eni_id: ENIId, security_group_ids: Sequence[SecurityGroupId]
    ) -> None:
        """Put an ENI into these security groups, and out of all others. Safe to repeat.

        Raises ConflictError when the ENI is gone, CapacityError when there are too many.
        """
        await self._call_ecs(
            "ModifyNetworkInterfaceAttribute",
            {"NetworkInterfaceId": eni_id, "SecurityGroupId": tuple(security_group_ids)},
            wire.Done,
        )

    async def unassign_ipv4_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv4Network]) -> None:
        """Take /28 ranges from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignPrivateIpAddresses", "Ipv4Prefix", eni_id, prefixes)

    async def unassign_ipv6_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv6Network]) -> None:
        """Take /80 ranges from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignIpv6Addresses", "Ipv6Prefix", eni_id, prefixes)

    async def unassign_ipv4(self, eni_id: ENIId, addresses: Iterable[IPv4Address]) -> None:
        """Take secondary addresses from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignPrivateIpAddresses", "PrivateIpAddress", eni_id, addresses)

    async def unassign_ipv6(self, eni_id: ENIId, addresses: Iterable[IPv6Address]) -> None:
        """Take IPv6 addresses from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignIpv6Addresses", "Ipv6Address", eni_id, addresses)

    async def _unassign(
        self, action: str, name: str, eni_id: ENIId, things: Iterable[IPAddress | IPNetwork]
    ) -> None:
        wanted = tuple(things)
        try:
            await self._unassign_all(action, name, eni_id, wanted)
        except ConflictError as refusal:
            if refusal.code != _ADDRESS_GONE:
                raise
            # One address that is gone fails the call for all: take what the ENI still has.
            found = await self.describe_enis(eni_ids=(eni_id,))
            held = {one for eni in found for one in _held(eni)}
            left = tuple(one for one in wanted if one in held)
            await self._unassign_all(action, name, eni_id, left)

    async def _unassign_all(
        self, action: str, name: str, eni_id: ENIId, things: Sequence[IPAddress | IPNetwork]
    ) -> None:
        if not things:
            return
        parameters: dict[str, Value] = {
            "NetworkInterfaceId": eni_id,
            name: tuple(map(str, things)),
        }
        await self._call_until_gone(action, parameters, gone=(_ENI_GONE,))

    async def describe_vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist, in that order; one call each."""
        found: list[VSwitch] = []
        for vswitch_id in ids:
            answer = await self._openapi.call(
                self._vpc,
                "DescribeVSwitches",
                {"RegionId": self._region_id, "VSwitchId": vswitch_id},
                wire.VSwitchesPage,
            )
            found += map(wire.parse_vswitch, answer.v_switches.v_switch)
        return tuple(found)

    async def describe_instance_types(self, types: Sequence[str]) -> tuple[InstanceLimits, ...]:
        """Return the limits of `types` that the cloud knows."""
        found: list[InstanceLimits] = []
        for batch in _batches(types, MAX_INSTANCE_TYPES):
            answer = await self._openapi.call(
                self._ecs,
                "DescribeInstanceTypes",
                {"InstanceTypes": batch, "MaxResults": TYPES_PAGE_SIZE},
                wire.InstanceTypesPage,
            )
            found += map(wire.parse_instance_limits, answer.instance_types.instance_type)
        return tuple(found)

    async def _call_until_gone(
        self, action: str, parameters: dict[str, Value], *, gone: tuple[str, ...]
    ) -> None:
        try:
            await self._call_ecs(action, parameters, wire.Done)
        except ConflictError as refusal:
            if refusal.code not in gone:
                raise

    async def _call_ecs(
        self, action: str, parameters: dict[str, Value], answer: type[Answer]
    ) -> Answer:
        return await self._openapi.call(
            self._ecs, action, {"RegionId": self._region_id, **parameters}, answer
        )


def _held(eni: ENI) -> tuple[IPAddress | IPNetwork, ...]:
    return *eni.ipv4, *eni.ipv6, *eni.ipv4_prefixes, *eni.ipv6_prefixes


def _tags(tags: Tags) -> Value:
    return tuple({"Key": key, "Value": value} for key, value in tags)


def _batches(items: Sequence[str], size: int) -> Sequence[Sequence[str]]:
    """Return `items` in batches; no items are one empty batch, which is no filter."""
    return [items[start : start + size] for start in range(0, max(len(items), 1), size)]
