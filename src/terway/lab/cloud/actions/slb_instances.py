"""CLB: make, describe, protect and delete instances.

Source: OpenAPI SLB 2014-05-15, the actions' own pages. IPv6 instances are internet ones, as there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_words import (
    listener_ports,
    on_off,
    parse_on_off,
    protection_status,
    slb_tags,
    tag_set,
)
from terway.lab.cloud.balancer_addresses import take_public, take_v4
from terway.lab.cloud.balancer_records import ClbRecord, ProtectionRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_number
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World, utc_minutes
from terway.model.address import IPAddress
from terway.model.ids import VpcId, VSwitchId

MAX_PER_PAGE = 100


class CreateLoadBalancer(Regional):
    """The parameters. Bandwidth and the ways of paying are words on an instance."""

    address_type: str = "internet"
    vpc_id: str = ""
    v_switch_id: str = ""
    address: str = ""
    address_ip_version: str = msgspec.field(default="ipv4", name="AddressIPVersion")
    load_balancer_name: str = ""
    load_balancer_spec: str = ""
    instance_charge_type: str = "PayByCLCU"
    internet_charge_type: str = "paybytraffic"
    pay_type: str = "PayOnDemand"
    bandwidth: int = 5120
    master_zone_id: str = ""
    slave_zone_id: str = ""
    delete_protection: str = "off"
    modification_protection_status: str = "NonProtection"
    modification_protection_reason: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_load_balancer(world: World, request: CreateLoadBalancer) -> Answer:
    """Make an instance, with an address of its vSwitch or of the internet."""
    _check_quota(world)
    if request.address_type not in ("internet", "intranet"):
        raise invalid("AddressType", "it must be internet or intranet")
    is_internet = request.address_type == "internet"
    _check_version(request.address_ip_version, is_internet)
    protection = _protection(request)
    vpc_id, vswitch_id, address = _place(world, request, is_internet)
    made = ClbRecord(
        id=world.ids.new("lb"),
        serial=world.ids.serial(),
        name=request.load_balancer_name or "auto_named_slb",
        address=address,
        is_internet=is_internet,
        vpc_id=vpc_id,
        vswitch_id=vswitch_id,
        spec=request.load_balancer_spec,
        charge_type=request.instance_charge_type,
        internet_charge_type=request.internet_charge_type,
        bandwidth=request.bandwidth,
        master_zone_id=request.master_zone_id or world.place.zone_ids[0],
        slave_zone_id=request.slave_zone_id,
        created_at=world.now(),
        protection=protection,
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.balancing.put(made)
    return {
        "LoadBalancerId": made.id,
        "LoadBalancerName": made.name,
        "Address": str(made.address),
        "AddressIPVersion": f"ipv{made.address.version}",
        "VpcId": made.vpc_id or "",
        "VSwitchId": made.vswitch_id or "",
        "NetworkType": _network_type(made),
        "ResourceGroupId": made.resource_group_id,
    }


def _check_quota(world: World) -> None:
    limit = world.limits.load_balancers
    if len(world.state.balancing.clbs) >= limit:
        message = f"The account has {limit} instances, which is its quota."
        raise Refusal("OperationDenied.QuotaLimitExceed", message)


def _check_version(ip_version: str, is_internet: bool) -> None:
    if ip_version not in ("ipv4", "ipv6"):
        raise invalid("AddressIPVersion", "it must be ipv4 or ipv6")
    if ip_version == "ipv6" and not is_internet:
        message = "An IPv6 instance must have the AddressType internet."
        raise Refusal("InvalidParameter.AddressIPVersion", message)


def _protection(request: CreateLoadBalancer) -> ProtectionRecord:
    return ProtectionRecord(
        is_deletion_refused=parse_on_off("DeleteProtection", request.delete_protection),
        modification_status=protection_status(request.modification_protection_status),
        modification_reason=request.modification_protection_reason,
    )


def _place(
    world: World, request: CreateLoadBalancer, is_internet: bool
) -> tuple[VpcId | None, VSwitchId | None, IPAddress]:
    if is_internet:
        version = 6 if request.address_ip_version == "ipv6" else 4
        return None, None, take_public(world, version=version)
    if not request.v_switch_id:
        message = "An intranet instance outside of a VPC is not emulated: VSwitchId is missing."
        raise Refusal("MissingParameter.VSwitchId", message)
    vswitch = world.state.vswitch(request.v_switch_id)
    if request.vpc_id not in ("", vswitch.vpc_id):
        raise Refusal("VpcNotExists", f"{vswitch.id} is not in the VPC {request.vpc_id}.")
    return vswitch.vpc_id, vswitch.id, take_v4(world, vswitch, request.address)


def _network_type(clb: ClbRecord) -> str:
    return "classic" if clb.is_internet else "vpc"


class OneLoadBalancer(Request):
    """The parameters of an action about one instance."""

    load_balancer_id: str


def delete_load_balancer(world: World, request: OneLoadBalancer) -> Answer:
    """Delete an instance with its listeners and groups, unless it is protected."""
    held = world.state.balancing
    clb = held.clb(request.load_balancer_id)
    if clb.protection.is_deletion_refused:
        message = "The loadbalancer can't be deleted due to DeleteProtection is enabled."
        raise Refusal("OperationDenied.DeleteProtectionIsOn", message)
    held.remove(*held.listeners_of_clb(clb.id), *held.groups_of_clb(clb.id), clb)
    return {}


class DescribeLoadBalancers(Regional):
    """The parameters. Tags is a JSON list of TagKey and TagValue, as older clients send it."""

    load_balancer_id: str = ""
    load_balancer_name: str = ""
    address: str = ""
    address_type: str = ""
    vpc_id: str = ""
    v_switch_id: str = ""
    resource_group_id: str = ""
    tags: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 50


def describe_load_balancers(world: World, request: DescribeLoadBalancers) -> Answer:
    """List instances."""
    wanted = (*request.tag, *slb_tags(request.tags))
    found = [
        one
        for one in world.state.balancing.clbs.values()
        if _matches(one, request) and has_tags(one.tags, wanted)
    ]
    size = min(request.page_size, MAX_PER_PAGE)
    page, total = page_by_number(found, number=request.page_number, size=size)
    return {
        "LoadBalancers": {"LoadBalancer": [_described(world, one) for one in page]},
        "TotalCount": total,
        "PageNumber": request.page_number,
        "PageSize": size,
    }


def _matches(clb: ClbRecord, request: DescribeLoadBalancers) -> bool:
    ids = request.load_balancer_id.split(",") if request.load_balancer_id else [clb.id]
    equal = (
        (request.load_balancer_name, clb.name),
        (request.address, str(clb.address)),
        (request.address_type, "internet" if clb.is_internet else "intranet"),
        (request.vpc_id, clb.vpc_id),
        (request.v_switch_id, clb.vswitch_id),
        (request.resource_group_id, clb.resource_group_id),
    )
    return clb.id in ids and all(not wanted or wanted == value for wanted, value in equal)


def describe_load_balancer_attribute(world: World, request: OneLoadBalancer) -> Answer:
    """Describe one instance, with its listeners."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    return {
        **_described(world, clb),
        **listener_ports(world.state.balancing.listeners_of_clb(clb.id)),
        "BackendServers": {"BackendServer": []},
        "AutoReleaseTime": 0,
        "EndTime": "2999-09-08T16:00Z",
    }


def _described(world: World, clb: ClbRecord) -> dict[str, Any]:
    return {
        "LoadBalancerId": clb.id,
        "LoadBalancerName": clb.name,
        "LoadBalancerStatus": "active",
        "LoadBalancerSpec": clb.spec,
        "Address": str(clb.address),
        "AddressType": "internet" if clb.is_internet else "intranet",
        "AddressIPVersion": f"ipv{clb.address.version}",
        "NetworkType": _network_type(clb),
        "VpcId": clb.vpc_id or "",
        "VSwitchId": clb.vswitch_id or "",
        "RegionId": world.place.region_id,
        "RegionIdAlias": world.place.region_id,
        "MasterZoneId": clb.master_zone_id,
        "SlaveZoneId": clb.slave_zone_id,
        "Bandwidth": clb.bandwidth,
        "InternetChargeType": clb.internet_charge_type,
        "InstanceChargeType": clb.charge_type,
        "PayType": "PayOnDemand",
        "CreateTime": utc_minutes(clb.created_at),
        "CreateTimeStamp": int(clb.created_at * 1000),
        "DeleteProtection": on_off(clb.protection.is_deletion_refused),
        "ModificationProtectionStatus": clb.protection.modification_status,
        "ModificationProtectionReason": clb.protection.modification_reason,
        "ResourceGroupId": clb.resource_group_id,
        "Tags": tag_set(clb.tags),
    }


ACTIONS: Actions = {
    "CreateLoadBalancer": Action(request=CreateLoadBalancer, run=create_load_balancer),
    "DeleteLoadBalancer": Action(request=OneLoadBalancer, run=delete_load_balancer),
    "DescribeLoadBalancers": Action(request=DescribeLoadBalancers, run=describe_load_balancers),
    "DescribeLoadBalancerAttribute": Action(
        request=OneLoadBalancer, run=describe_load_balancer_attribute
    ),
}
