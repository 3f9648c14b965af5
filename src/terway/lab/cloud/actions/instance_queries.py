"""ECS: describe instances and instance types.

Source: OpenAPI ECS 2014-05-26, the actions' own pages.
"""

from __future__ import annotations

from typing import Any

import msgspec

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.instance_types import InstanceType
from terway.lab.cloud.paging import page_by_token, page_either_way
from terway.lab.cloud.records import InstanceRecord
from terway.lab.cloud.refusal import invalid
from terway.lab.cloud.requests import Regional, Request, Tag, json_list
from terway.lab.cloud.world import World

KBITS_PER_GBIT = 1024000  # as DescribeInstanceTypes counts
MAX_TYPES_PER_PAGE = 1600
MAX_TYPES_NAMED = 10
MAX_INSTANCES_PER_PAGE = 100


class DescribeInstances(Regional):
    """The parameters. InstanceIds and PrivateIpAddresses are JSON lists, as the API has them."""

    instance_ids: str = "[]"
    private_ip_addresses: str = "[]"
    instance_name: str = ""
    instance_type: str = ""
    status: str = ""
    v_switch_id: str = ""
    vpc_id: str = ""
    zone_id: str = ""
    security_group_id: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10
    max_results: int | None = None
    next_token: str = ""


def describe_instances(world: World, request: DescribeInstances) -> Answer:
    """List instances by page number, or by token when MaxResults or NextToken is given."""
    ids = json_list("InstanceIds", request.instance_ids)
    addresses = json_list("PrivateIpAddresses", request.private_ip_addresses)
    found = [
        instance
        for instance in world.state.instances.values()
        if _matches(world, instance, request, ids, addresses)
    ]
    page, paging = page_either_way(
        found,
        number=request.page_number,
        size=request.page_size,
        max_results=request.max_results,
        token=request.next_token,
        most=MAX_INSTANCES_PER_PAGE,
    )
    shown = [views.described_instance(world, instance) for instance in page]
    return {"Instances": {"Instance": shown}, **paging}


def _matches(
    world: World,
    instance: InstanceRecord,
    request: DescribeInstances,
    ids: list[str],
    addresses: list[str],
) -> bool:
    primary = world.state.enis[instance.primary_eni_id]
    equal = (
        (request.instance_name, instance.name),
        (request.instance_type, instance.instance_type),
        (request.status, instance.status.value),
        (request.v_switch_id, instance.vswitch_id),
        (request.vpc_id, instance.vpc_id),
        (request.zone_id, instance.zone_id),
        (request.resource_group_id, instance.resource_group_id),
    )
    return (
        all(not wanted or wanted == value for wanted, value in equal)
        and (not ids or instance.id in ids)
        and (not addresses or str(primary.ipv4[0]) in addresses)
        and request.security_group_id in ("", *primary.security_group_ids)
        and has_tags(instance.tags, request.tag)
    )


class DescribeInstanceAttribute(Request):
    """The parameters."""

    instance_id: str


def describe_instance_attribute(world: World, request: DescribeInstanceAttribute) -> Answer:
    """Describe one instance."""
    instance = world.state.instance(request.instance_id)
    shown = views.described_instance(world, instance)
    listed_only = (
        "DeletionProtection",
        "InstanceTypeFamily",
        "MetadataOptions",
        "NetworkInterfaces",
        "ResourceGroupId",
        "Tags",
    )
    return {name: value for name, value in shown.items() if name not in listed_only}


class DescribeInstanceTypes(Request):
    """The parameters. The filters on hardware that is not emulated are refused by name."""

    instance_types: tuple[str, ...] = ()
    instance_type_family: str = ""
    max_results: int = MAX_TYPES_PER_PAGE
    next_token: str = ""


def describe_instance_types(world: World, request: DescribeInstanceTypes) -> Answer:
    """List instance types. A limit that no source gives is left out of the answer."""
    if len(request.instance_types) > MAX_TYPES_NAMED:
        raise invalid("InstanceTypes.N", f"at most {MAX_TYPES_NAMED} at once")
    found = [
        _Listed(serial, kind)
        for serial, kind in enumerate(world.types.values(), 1)
        if (not request.instance_types or kind.id in request.instance_types)
        and request.instance_type_family in ("", kind.family)
    ]
    size = min(max(request.max_results, 1), MAX_TYPES_PER_PAGE)
    page, token = page_by_token(found, token=request.next_token, size=size)
    shown = [_described_type(listed.kind) for listed in page]
    return {"InstanceTypes": {"InstanceType": shown}, "NextToken": token}


class _Listed(msgspec.Struct):
    serial: int
    kind: InstanceType


def _described_type(kind: InstanceType) -> dict[str, Any]:
    bandwidth = kind.bandwidth_gbps and int(kind.bandwidth_gbps * KBITS_PER_GBIT)
    shown = {
        "InstanceTypeId": kind.id,
        "InstanceTypeFamily": kind.family,
        "CpuCoreCount": kind.cpu_core_count,
        "MemorySize": kind.memory_gib,
        "EniQuantity": kind.eni_quantity,
        "EniPrivateIpAddressQuantity": kind.eni_private_ip_address_quantity,
        "EniIpv6AddressQuantity": kind.eni_ipv6_address_quantity,
        "EniTrunkSupported": kind.eni_trunk_supported,
        "EniTotalQuantity": kind.eni_total_quantity,
        "EriQuantity": kind.eri_quantity,
        "InstanceBandwidthRx": bandwidth,
        "InstanceBandwidthTx": bandwidth,
    }
    return {name: value for name, value in shown.items() if value is not None}


ACTIONS: Actions = {
    "DescribeInstances": Action(request=DescribeInstances, run=describe_instances),
    "DescribeInstanceAttribute": Action(
        request=DescribeInstanceAttribute, run=describe_instance_attribute
    ),
    "DescribeInstanceTypes": Action(request=DescribeInstanceTypes, run=describe_instance_types),
}
