"""NLB: describe instances.

Source: OpenAPI NLB 2022-04-30, GetLoadBalancerAttribute and ListLoadBalancers.
"""

from __future__ import annotations

from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.nlb_instances import OneLoadBalancer
from terway.lab.cloud.balancer_records import NlbRecord, NlbZoneRecord
from terway.lab.cloud.paging import page_by_token
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World, utc_seconds

MAX_PER_PAGE = 100


def get_attribute(world: World, request: OneLoadBalancer) -> Answer:
    """Describe one instance. Its tags are spelt otherwise than in lists, as there."""
    nlb = world.state.balancing.nlb(request.load_balancer_id)
    tags = [{"TagKey": key, "TagValue": value} for key, value in nlb.tags]
    return {**_described(world, nlb), "Tags": tags}


class ListLoadBalancers(Request):
    """The parameters."""

    load_balancer_ids: tuple[str, ...] = ()
    load_balancer_names: tuple[str, ...] = ()
    vpc_ids: tuple[str, ...] = ()
    address_type: str = ""
    load_balancer_status: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    max_results: int = 20
    next_token: str = ""


def list_load_balancers(world: World, request: ListLoadBalancers) -> Answer:
    """List instances."""
    found = [one for one in world.state.balancing.nlbs.values() if _matches(world, one, request)]
    size = min(request.max_results, MAX_PER_PAGE)
    page, following = page_by_token(found, token=request.next_token, size=size)
    return {
        "LoadBalancers": [_described(world, one) for one in page],
        "NextToken": following,
        "MaxResults": size,
        "TotalCount": len(found),
    }


def _matches(world: World, nlb: NlbRecord, request: ListLoadBalancers) -> bool:
    within = (
        (request.load_balancer_ids, nlb.id),
        (request.load_balancer_names, nlb.name),
        (request.vpc_ids, nlb.vpc_id),
        ((*filter(None, (request.address_type,)),), _address_type(nlb)),
        ((*filter(None, (request.load_balancer_status,)),), _status(world, nlb)),
        ((*filter(None, (request.resource_group_id,)),), nlb.resource_group_id),
    )
    same = all(not wanted or value in wanted for wanted, value in within)
    return same and has_tags(nlb.tags, request.tag)


def _address_type(nlb: NlbRecord) -> str:
    return "Internet" if nlb.is_internet else "Intranet"


def _status(world: World, nlb: NlbRecord) -> str:
    return "Active" if nlb.ready_at <= world.now() else "Provisioning"


def _described(world: World, nlb: NlbRecord) -> dict[str, Any]:
    guard = nlb.protection
    return {
        "LoadBalancerId": nlb.id,
        "LoadBalancerName": nlb.name,
        "LoadBalancerType": "Network",
        "LoadBalancerStatus": _status(world, nlb),
        "LoadBalancerBusinessStatus": "Normal",
        "AddressType": _address_type(nlb),
        "AddressIpVersion": "DualStack" if nlb.is_dual_stack else "ipv4",
        "Ipv6AddressType": "Intranet",
        "DNSName": nlb.dns_name,
        "VpcId": nlb.vpc_id,
        "RegionId": world.place.region_id,
        "CrossZoneEnabled": nlb.is_cross_zone,
        "CreateTime": utc_seconds(nlb.created_at),
        "ResourceGroupId": nlb.resource_group_id,
        "DeletionProtectionConfig": {
            "Enabled": guard.is_deletion_refused,
            "Reason": guard.deletion_reason,
        },
        "ModificationProtectionConfig": {
            "Status": guard.modification_status,
            "Reason": guard.modification_reason,
        },
        "ZoneMappings": [_zone_described(one) for one in nlb.zones],
        "SecurityGroupIds": list(nlb.security_group_ids),
        "Tags": [{"Key": key, "Value": value} for key, value in nlb.tags],
    }


def _zone_described(zone: NlbZoneRecord) -> dict[str, Any]:
    address = {
        "PrivateIPv4Address": str(zone.private_ipv4),
        "PublicIPv4Address": str(zone.public_ipv4 or ""),
        "Ipv6Address": str(zone.ipv6 or ""),
        "EniId": zone.eni_id,
        "AllocationId": zone.allocation_id,
    }
    return {
        "VSwitchId": zone.vswitch_id,
        "ZoneId": zone.zone_id,
        "Status": "Active",
        "LoadBalancerAddresses": [address],
    }


ACTIONS: Actions = {
    "GetLoadBalancerAttribute": Action(request=OneLoadBalancer, run=get_attribute),
    "ListLoadBalancers": Action(request=ListLoadBalancers, run=list_load_balancers),
}
