"""How does the lab set up a world in the cloud? The same actions, called in process.

Every function raises ProvisionError with the cloud's own words when the cloud refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from terway.cloud.query import Value, flatten
from terway.lab.cloud.cloud import Call, Cloud
from terway.model.errors import UsageError
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

ECS, VPC = "2014-05-26", "2016-04-28"
IMAGE_ID = "aliyun_3_x64_20G_alibase_20240819.vhd"


class ProvisionError(UsageError):
    """The cloud refused a part of the world; `code` is the cloud's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What the lab needs to know of a new instance."""

    id: InstanceId
    primary_eni_id: ENIId
    mac: MacAddress
    ipv4: IPv4Address
    ipv6: IPv6Address | None


def create_vpc(
    cloud: Cloud,
    cidr: IPv4Network,
    *,
    name: str = "",
    ipv6: bool = True,
    ipv6_cidr: IPv6Network | None = None,
) -> VpcId:
    """Make a VPC; with `ipv6`, with a /56: the given one, or one that the cloud chooses."""
    parameters: dict[str, Value] = {
        "CidrBlock": str(cidr),
        "VpcName": name,
        "EnableIpv6": ipv6,
        "Ipv6CidrBlock": str(ipv6_cidr) if ipv6_cidr else None,
    }
    return VpcId(_call(cloud, VPC, "CreateVpc", parameters)["VpcId"])


def create_vswitch(
    cloud: Cloud,
    vpc_id: VpcId,
    cidr: IPv4Network,
    *,
    zone_id: ZoneId,
    ipv6_number: int | None = None,
    name: str = "",
) -> VSwitchId:
    """Make a vSwitch; `ipv6_number` is the last byte of its /64's prefix."""
    parameters: dict[str, Value] = {
        "VpcId": vpc_id,
        "ZoneId": zone_id,
        "CidrBlock": str(cidr),
        "Ipv6CidrBlock": ipv6_number,
        "VSwitchName": name,
    }
    return VSwitchId(_call(cloud, VPC, "CreateVSwitch", parameters)["VSwitchId"])


def create_security_group(
    cloud: Cloud, vpc_id: VpcId, *, name: str = "", is_enterprise: bool = False
) -> SecurityGroupId:
    """Make a security group without rules."""
    parameters: dict[str, Value] = {
        "VpcId": vpc_id,
        "SecurityGroupName": name,
        "SecurityGroupType": "enterprise" if is_enterprise else "normal",
    }
    answer = _call(cloud, ECS, "CreateSecurityGroup", parameters)
    return SecurityGroupId(answer["SecurityGroupId"])


def authorize(cloud: Cloud, group_id: SecurityGroupId, *permissions: Mapping[str, Value]) -> None:
    """Add ingress rules: ``{"IpProtocol": "TCP", "PortRange": "80/80", "SourceCidrIp": …}``."""
    parameters: dict[str, Value] = {"SecurityGroupId": group_id, "Permissions": permissions}
    _call(cloud, ECS, "AuthorizeSecurityGroup", parameters)


def run_instance(
    cloud: Cloud,
    *,
    instance_type: str,
    vswitch_id: VSwitchId,
    security_group_ids: Sequence[SecurityGroupId],
    name: str = "",
    ipv6: bool = True,
    role: str = "",
    hardened: bool = False,
) -> Instance:
    """Make an instance with its primary ENI; it is Running after `Delays.start_s`."""
    parameters: dict[str, Value] = {
        "ImageId": IMAGE_ID,
        "InstanceType": instance_type,
        "VSwitchId": vswitch_id,
        "SecurityGroupIds": security_group_ids,
        "InstanceName": name,
        "HostName": name,
        "Ipv6AddressCount": 1 if ipv6 else None,
        "RamRoleName": role,
        "HttpTokens": "required" if hardened else "optional",
    }
    answer = _call(cloud, ECS, "RunInstances", parameters)
    return find_instance(cloud, InstanceId(answer["InstanceIdSets"]["InstanceIdSet"][0]))


def enable_jumbo_frames(cloud: Cloud, instance_id: InstanceId) -> None:
    """Let an instance's ENIs carry packets of 8500 bytes."""
    parameters: dict[str, Value] = {"InstanceId": instance_id, "EnableJumboFrame": True}
    _call(cloud, ECS, "ModifyInstanceAttribute", parameters)


def find_instance(cloud: Cloud, instance_id: InstanceId) -> Instance:
    """Return what the lab needs to know of an instance."""
    state = cloud.world.state
    eni = state.enis[state.instances[instance_id].primary_eni_id]
    return Instance(
        id=instance_id,
        primary_eni_id=eni.id,
        mac=eni.mac,
        ipv4=eni.ipv4[0],
        ipv6=eni.ipv6[0] if eni.ipv6 else None,
    )


def disable_source_check(cloud: Cloud, eni_id: ENIId) -> None:
    """Let an ENI send from addresses that are not its own."""
    parameters: dict[str, Value] = {"NetworkInterfaceId": eni_id, "SourceDestCheck": False}
    _call(cloud, ECS, "ModifyNetworkInterfaceAttribute", parameters)


def add_route(cloud: Cloud, table_id: str, destination: str, instance_id: InstanceId) -> None:
    """Lead a range of addresses to an instance."""
    parameters: dict[str, Value] = {
        "RouteTableId": table_id,
        "DestinationCidrBlock": destination,
        "NextHopType": "Instance",
        "NextHopId": instance_id,
    }
    _call(cloud, VPC, "CreateRouteEntry", parameters)


def delete_instance(cloud: Cloud, instance_id: InstanceId) -> None:
    """Delete an instance, running or not, and the ENIs that are released with it."""
    _call(cloud, ECS, "DeleteInstance", {"InstanceId": instance_id, "Force": True})


def _call(
    cloud: Cloud, version: str, action: str, parameters: Mapping[str, Value]
) -> dict[str, Any]:
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    place = {"RegionId": cloud.world.place.region_id}
    reply = cloud.perform(
        Call(version=version, action=action, parameters=flatten({**place, **given}))
    )
    if reply.code:
        raise ProvisionError(f"{action}: {reply.code}: {reply.body['Message']}", code=reply.code)
    return reply.body
