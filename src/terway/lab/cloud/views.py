"""How do answers show ENIs, instances and tags? The API's own names and wrappers.

Addresses that the cloud has promised but not yet programmed are not shown.
"""

from __future__ import annotations

from typing import Any

from terway.lab.cloud.records import ENIRecord, GroupRecord, InstanceRecord, Tags
from terway.lab.cloud.world import World, utc_minutes, utc_seconds
from terway.model.address import IPAddress

View = dict[str, Any]


def ready(eni: ENIRecord, addresses: tuple[IPAddress, ...]) -> list[str]:
    """Return the addresses that are programmed."""
    return [str(address) for address in addresses if address not in eni.unready]


def private_ip_sets(eni: ENIRecord) -> View:
    """Return the PrivateIpSets of an ENI, its primary address first."""
    primary = str(eni.ipv4[0])
    listed = ready(eni, eni.ipv4)
    return {"PrivateIpSet": [{"PrivateIpAddress": ip, "Primary": ip == primary} for ip in listed]}


def ipv6_sets(eni: ENIRecord) -> View:
    """Return the Ipv6Sets of an ENI."""
    return {"Ipv6Set": [{"Ipv6Address": ip} for ip in ready(eni, eni.ipv6)]}


def tag_list(tags: Tags) -> View:
    """Return tags as ECS shows them."""
    return {"Tag": [{"TagKey": key, "TagValue": value} for key, value in tags]}


def vpc_tag_list(tags: Tags) -> View:
    """Return tags as VPC shows them."""
    return {"Tag": [{"Key": key, "Value": value} for key, value in tags]}


def new_eni(world: World, eni: ENIRecord) -> View:
    """Return an ENI as the answer of CreateNetworkInterface shows it."""
    return {
        "NetworkInterfaceId": eni.id,
        "NetworkInterfaceName": eni.name,
        "Description": eni.description,
        "MacAddress": eni.mac,
        "Type": eni.type.value,
        "Status": eni.status.value,
        "VpcId": eni.vpc_id,
        "VSwitchId": eni.vswitch_id,
        "ZoneId": eni.zone_id,
        "PrivateIpAddress": str(eni.ipv4[0]),
        "PrivateIpSets": private_ip_sets(eni),
        "Ipv6Sets": ipv6_sets(eni),
        "Ipv4PrefixSets": {"Ipv4PrefixSet": [{"Ipv4Prefix": str(p)} for p in eni.ipv4_prefixes]},
        "Ipv6PrefixSets": {"Ipv6PrefixSet": [{"Ipv6Prefix": str(p)} for p in eni.ipv6_prefixes]},
        "SecurityGroupIds": {"SecurityGroupId": list(eni.security_group_ids)},
        "SourceDestCheck": eni.source_dest_check,
        "ResourceGroupId": eni.resource_group_id,
        "OwnerId": world.place.account_id,
        "ServiceManaged": False,
        "Tags": tag_list(eni.tags),
    }


def described_eni(world: World, eni: ENIRecord) -> View:
    """Return an ENI as DescribeNetworkInterfaces shows it."""
    return {
        **new_eni(world, eni),
        "InstanceId": eni.instance_id or "",
        "Attachment": _attachment(eni),
        "CreationTime": utc_seconds(eni.created_at),
        "DeleteOnRelease": eni.delete_on_release,
        "NetworkInterfaceTrafficMode": "HighPerformance" if eni.is_erdma else "Standard",
        "AssociatedPublicIp": {},
    }


def _attachment(eni: ENIRecord) -> View:
    if not eni.instance_id:
        return {}
    of_member = {"TrunkNetworkInterfaceId": eni.trunk_id, "DeviceIndex": eni.vlan_id}
    return {"InstanceId": eni.instance_id, **(of_member if eni.trunk_id else {})}


def described_instance(world: World, instance: InstanceRecord) -> View:
    """Return an instance as DescribeInstances shows it."""
    kind = world.types[instance.instance_type]
    enis = [eni for eni in world.state.enis_of(instance.id) if eni.trunk_id is None]
    primary = world.state.enis[instance.primary_eni_id]
    return {
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "HostName": instance.host_name,
        "Description": instance.description,
        "InstanceType": kind.id,
        "InstanceTypeFamily": kind.family,
        "Cpu": kind.cpu_core_count,
        "Memory": int(kind.memory_gib * 1024),
        "Status": instance.status.value,
        "ImageId": instance.image_id,
        "RegionId": world.place.region_id,
        "ZoneId": instance.zone_id,
        "InstanceNetworkType": "vpc",
        "VpcAttributes": {
            "VpcId": instance.vpc_id,
            "VSwitchId": instance.vswitch_id,
            "PrivateIpAddress": {"IpAddress": [str(primary.ipv4[0])]},
            "NatIpAddress": "",
        },
        "NetworkInterfaces": {"NetworkInterface": [_instance_eni(eni) for eni in enis]},
        "SecurityGroupIds": {"SecurityGroupId": list(primary.security_group_ids)},
        "CreationTime": utc_minutes(instance.created_at),
        "DeletionProtection": instance.deletion_protection,
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required" if instance.hardened else "optional",
        },
        "ResourceGroupId": instance.resource_group_id,
        "Tags": tag_list(instance.tags),
    }


def _instance_eni(eni: ENIRecord) -> View:
    return {
        "NetworkInterfaceId": eni.id,
        "MacAddress": eni.mac,
        "Type": eni.type.value,
        "PrimaryIpAddress": str(eni.ipv4[0]),
        "PrivateIpSets": private_ip_sets(eni),
        "Ipv6Sets": ipv6_sets(eni),
    }


def described_group(world: World, group: GroupRecord) -> View:
    """Return a security group as DescribeSecurityGroups shows it."""
    return {
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "SecurityGroupType": "enterprise" if group.is_enterprise else "normal",
        "Description": group.description,
        "VpcId": group.vpc_id,
        "CreationTime": utc_seconds(group.created_at),
        "RuleCount": len(group.rules),
        "ResourceGroupId": group.resource_group_id,
        "ServiceManaged": False,
        "Tags": tag_list(group.tags),
    }
