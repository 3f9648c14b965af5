"""VPC: create, describe and delete VPCs.

Source: OpenAPI VPC 2016-04-28, the actions' own pages.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_number
from terway.lab.cloud.records import VpcRecord
from terway.lab.cloud.refusal import Refusal, forbidden, invalid
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World, utc_seconds
from terway.model.ids import RouteTableId, VpcId

DEFAULT_CIDR = IPv4Network("172.16.0.0/12")
# What a VPC may not overlap: 100.64.0.0/10 is the provider's own, the rest is not unicast.
FORBIDDEN_CIDRS = tuple(
    map(IPv4Network, ("100.64.0.0/10", "224.0.0.0/4", "127.0.0.0/8", "169.254.0.0/16"))
)
IPV6_POOL = IPv6Network("2408:4005:300::/40")  # where the emulated region's /56 ranges come from
MAX_VPCS_PER_PAGE = 50


class CreateVpc(Regional):
    """The parameters. IPAM pools are not emulated."""

    cidr_block: IPv4Network = DEFAULT_CIDR
    enable_ipv6: bool = False
    ipv6_cidr_block: IPv6Network | None = None
    vpc_name: str = ""
    description: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_vpc(world: World, request: CreateVpc) -> Answer:
    """Make a VPC, its router and its system route table; with EnableIpv6, a /56 as well."""
    _check_cidr(request.cidr_block)
    vpc = VpcRecord(
        id=VpcId(world.ids.new("vpc")),
        serial=world.ids.serial(),
        name=request.vpc_name,
        description=request.description,
        cidr=request.cidr_block,
        ipv6_cidr=_ipv6_cidr(world, request),
        route_table_id=RouteTableId(world.ids.new("vtb")),
        router_id=world.ids.new("vrt"),
        created_at=world.now(),
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.put(vpc)
    return {
        "VpcId": vpc.id,
        "VRouterId": vpc.router_id,
        "RouteTableId": vpc.route_table_id,
        "ResourceGroupId": vpc.resource_group_id,
    }


def _check_cidr(cidr: IPv4Network) -> None:
    if not 8 <= cidr.prefixlen <= 28:
        message = f"The mask of {cidr} must have 8 to 28 bits."
        raise Refusal("InvalidCidrBlock.Malformed", message)
    clash = next((other for other in FORBIDDEN_CIDRS if other.overlaps(cidr)), None)
    if clash:
        message = f"{cidr} overlaps {clash}, which a VPC cannot have."
        raise Refusal("InvalidCidrBlock.Malformed", message)


def _ipv6_cidr(world: World, request: CreateVpc) -> IPv6Network | None:
    wanted = request.ipv6_cidr_block
    if not request.enable_ipv6:
        if wanted:
            raise invalid("Ipv6CidrBlock", "it needs EnableIpv6")
        return None
    if wanted and wanted.prefixlen != 56:
        raise invalid("Ipv6CidrBlock", f"{wanted} is not a /56")
    taken = {vpc.ipv6_cidr for vpc in world.state.vpcs.values()}
    free = (network for network in IPV6_POOL.subnets(new_prefix=56) if network not in taken)
    return wanted or next(free)


class DescribeVpcs(Request):
    """The parameters. VpcId may be a list, joined by commas."""

    vpc_id: str = ""
    vpc_name: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10


def describe_vpcs(world: World, request: DescribeVpcs) -> Answer:
    """List VPCs."""
    found = [vpc for vpc in world.state.vpcs.values() if _matches(vpc, request)]
    size = min(request.page_size, MAX_VPCS_PER_PAGE)
    page, total = page_by_number(found, number=request.page_number, size=size)
    return {
        "Vpcs": {"Vpc": [_described(world, vpc) for vpc in page]},
        "TotalCount": total,
        "PageNumber": request.page_number,
        "PageSize": size,
    }


def _matches(vpc: VpcRecord, request: DescribeVpcs) -> bool:
    return (
        (not request.vpc_id or vpc.id in request.vpc_id.split(","))
        and request.vpc_name in ("", vpc.name)
        and request.resource_group_id in ("", vpc.resource_group_id)
        and has_tags(vpc.tags, request.tag)
    )


def _described(world: World, vpc: VpcRecord) -> dict[str, Any]:
    vswitches = world.state.vswitches_in(vpc.id)
    return {
        "VpcId": vpc.id,
        "VpcName": vpc.name,
        "Description": vpc.description,
        "CidrBlock": str(vpc.cidr),
        "Ipv6CidrBlock": str(vpc.ipv6_cidr or ""),
        "EnabledIpv6": vpc.ipv6_cidr is not None,
        "Status": "Pending" if world.is_pending(vpc.created_at) else "Available",
        "RegionId": world.place.region_id,
        "VRouterId": vpc.router_id,
        "RouterTableIds": {"RouterTableIds": [vpc.route_table_id]},
        "VSwitchIds": {"VSwitchId": [vswitch.id for vswitch in vswitches]},
        "SecondaryCidrBlocks": {"SecondaryCidrBlock": []},
        "UserCidrs": {"UserCidr": []},
        "NatGatewayIds": {"NatGatewayIds": []},
        "IsDefault": False,
        "CreationTime": utc_seconds(vpc.created_at),
        "OwnerId": int(world.place.account_id),
        "ResourceGroupId": vpc.resource_group_id,
        "Tags": views.vpc_tag_list(vpc.tags),
    }


class DeleteVpc(Request):
    """The parameters."""

    vpc_id: str
    client_token: str = ""


def delete_vpc(world: World, request: DeleteVpc) -> Answer:
    """Delete a VPC that has no vSwitches and no security groups."""
    vpc = world.state.vpc(request.vpc_id)
    groups = [group for group in world.state.groups.values() if group.vpc_id == vpc.id]
    for kind, left in (("VSwitch", world.state.vswitches_in(vpc.id)), ("SecurityGroup", groups)):
        if left:
            message = f"{vpc.id} still has {len(left)} {kind}: {left[0].id} for one."
            raise forbidden(f"DependencyViolation.{kind}", message)
    routes = world.state.routes.values()
    world.state.remove(
        *[route for route in routes if route.route_table_id == vpc.route_table_id], vpc
    )
    return {}


ACTIONS: Actions = {
    "CreateVpc": Action(request=CreateVpc, run=create_vpc),
    "DescribeVpcs": Action(request=DescribeVpcs, run=describe_vpcs),
    "DeleteVpc": Action(request=DeleteVpc, run=delete_vpc),
}
