"""Which calls does the agent make to the cloud, and what do they promise?

`EcsClient` has the whole of it: ENIs and their addresses, vSwitches, instance types. Each method
is one action (and its pages); each says whether repeating it is safe. Every method raises
ThrottledError, TransientError and UsageError as `terway.cloud.errors` explains; docstrings name
the others. Source: OpenAPI ECS 2014-05-26 and VPC 2016-04-28.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec

from terway.cloud import wire
from terway.cloud.credentials import CredentialsProvider
from terway.cloud.ecs_addresses import AddressCalls
from terway.cloud.ecs_calls import (
    ECS_VERSION,
    ENI_GONE,
    VPC_VERSION,
    Tags,
    batches,
    tag_list,
)
from terway.cloud.openapi import OpenAPI, open_session
from terway.cloud.query import Value
from terway.model.eni import ENI, ENIType, InstanceLimits, VSwitch
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    RegionId,
    SecurityGroupId,
    VSwitchId,
)

__all__ = ["ECS_VERSION", "VPC_VERSION", "EcsClient", "open_ecs_client"]

TYPES_PAGE_SIZE = 100  # the most that DescribeInstanceTypes gives at once
MAX_INSTANCE_TYPES = 10  # per call

_INSTANCE_GONE = "InvalidEcsId.NotFound"


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


class EcsClient(AddressCalls):
    """The agent's client of the cloud, for one region."""

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
        """Create an ENI with `ipv4_count` IPv4 addresses, its primary one included.

        Of a family it has secondary addresses or prefixes, not both, at first. `is_erdma` makes
        one for RDMA, `is_trunk` one that other ENIs can be members of. Without
        `delete_on_release` it outlives the instance it is attached to.

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
            "InstanceType": ENIType.TRUNK.value if is_trunk else None,
            "NetworkInterfaceTrafficMode": "HighPerformance" if is_erdma else None,
            "Tag": tag_list(tags),
            "Description": description or None,
            "ResourceGroupId": resource_group_id or None,
            "DeleteOnRelease": delete_on_release,
            "ClientToken": token,
        }
        answer = await self.call_ecs("CreateNetworkInterface", parameters, wire.NetworkInterface)
        return wire.parse_eni(answer)

    async def attach_eni(
        self, eni_id: ENIId, instance_id: InstanceId, *, trunk_id: ENIId | None = None
    ) -> None:
        """Begin to attach an ENI, or to make it a member of a trunk of the instance.

        It is InUse some seconds later; a member then has its VLAN id.

        Raises CapacityError when the instance has all the ENIs, or all the members, of its type,
        ConflictError when the ENI is not Available, the trunk not InUse, or one of them is gone.
        """
        await self.call_ecs(
            "AttachNetworkInterface", _attachment(eni_id, instance_id, trunk_id), wire.Done
        )

    async def detach_eni(
        self, eni_id: ENIId, instance_id: InstanceId, *, trunk_id: ENIId | None = None
    ) -> None:
        """Begin to detach an ENI, or a member from its trunk; it is Available some seconds later.

        It keeps its MAC and addresses. Success when the ENI or the instance is gone. Raises
        ConflictError when the ENI is in another state than InUse, or a trunk that has members.
        """
        await self.call_until_gone(
            "DetachNetworkInterface",
            _attachment(eni_id, instance_id, trunk_id),
            gone=(ENI_GONE, _INSTANCE_GONE),
        )

    async def delete_eni(self, eni_id: ENIId) -> None:
        """Begin to delete an ENI; success when it is gone.

        Raises ConflictError while it is attached.
        """
        await self.call_until_gone(
            "DeleteNetworkInterface", {"NetworkInterfaceId": eni_id}, gone=(ENI_GONE,)
        )

    async def set_security_groups(
        self, eni_id: ENIId, security_group_ids: Sequence[SecurityGroupId]
    ) -> None:
        """Put an ENI into these security groups, and out of all others. Safe to repeat.

        Raises ConflictError when the ENI is gone, CapacityError when there are too many.
        """
        await self.call_ecs(
            "ModifyNetworkInterfaceAttribute",
            {"NetworkInterfaceId": eni_id, "SecurityGroupId": tuple(security_group_ids)},
            wire.Done,
        )

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

    async def existing_security_groups(
        self, ids: Sequence[SecurityGroupId]
    ) -> frozenset[SecurityGroupId]:
        """Return those of up to 10 `ids`, a page of the answer, that exist."""
        page = await self.call_ecs(
            "DescribeSecurityGroups",
            {"SecurityGroupIds": msgspec.json.encode(ids).decode()},
            wire.SecurityGroupsPage,
        )
        listed = page.security_groups.security_group
        return frozenset(SecurityGroupId(one.security_group_id) for one in listed)

    async def describe_instance_types(self, types: Sequence[str]) -> tuple[InstanceLimits, ...]:
        """Return the limits of `types` that the cloud knows."""
        found: list[InstanceLimits] = []
        for batch in batches(types, MAX_INSTANCE_TYPES):
            answer = await self._openapi.call(
                self._ecs,
                "DescribeInstanceTypes",
                {"InstanceTypes": batch, "MaxResults": TYPES_PAGE_SIZE},
                wire.InstanceTypesPage,
            )
            found += map(wire.parse_instance_limits, answer.instance_types.instance_type)
        return tuple(found)


def _attachment(eni_id: ENIId, instance_id: InstanceId, trunk_id: ENIId | None) -> dict[str, Value]:
    """Return the parameters of attach and detach."""
    return {
        "NetworkInterfaceId": eni_id,
        "InstanceId": instance_id,
        "TrunkNetworkInstanceId": trunk_id,
    }
