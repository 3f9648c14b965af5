"""VPC: create, describe and delete vSwitches.

Source: OpenAPI VPC 2016-04-28, the actions' own pages.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.addresses import usable_count
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_number
from terway.lab.cloud.records import VpcRecord, VSwitchRecord
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, missing
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World, utc_seconds
from terway.model.ids import VSwitchId

MAX_VSWITCHES_PER_PAGE = 50


class CreateVSwitch(Request):
    """The parameters. Ipv6CidrBlock is the last byte of the /64's prefix, 0 to 255."""

    vpc_id: str
    zone_id: str
    cidr_block: IPv4Network | None = None
    ipv6_cidr_block: int | None = None
    v_switch_name: str = ""
    description: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_vswitch(world: World, request: CreateVSwitch) -> Answer:
    """Make a vSwitch: a range of the VPC that no other vSwitch overlaps."""
    vpc = world.state.vpc(request.vpc_id)
    if world.is_pending(vpc.created_at):
        raise Refusal("IncorrectVpcStatus", f"The VPC {vpc.id} is Pending.")
    zone_id = world.check_zone(request.zone_id)
    vswitch = VSwitchRecord(
        id=VSwitchId(world.ids.new("vsw")),
        serial=world.ids.serial(),
        vpc_id=vpc.id,
        zone_id=zone_id,
        name=request.v_switch_name,
        description=request.description,
        cidr=_cidr(world, vpc, request.cidr_block),
        ipv6_cidr=_ipv6_cidr(world, vpc, request.ipv6_cidr_block),
        created_at=world.now(),
        tags=check_tags(world, request.tag),
    )
    limit = world.limits.vswitches_per_vpc
    if len(world.state.vswitches_in(vpc.id)) >= limit:
        raise Refusal("QuotaExceeded.VSwitch", f"A VPC can have {limit} vSwitches.")
    world.state.put(vswitch)
    return {"VSwitchId": vswitch.id}


def _cidr(world: World, vpc: VpcRecord, cidr: IPv4Network | None) -> IPv4Network:
    if cidr is None:
        raise missing("CidrBlock")
    if not 16 <= cidr.prefixlen <= 29:
        message = f"The mask of {cidr} must have 16 to 29 bits."
        raise Refusal("InvalidCidrBlock.Malformed", message)
    if not cidr.subnet_of(vpc.cidr):
        raise Refusal("InvalidParameter", f"{cidr} is not in the VPC's range {vpc.cidr}.")
    clash = next((v for v in world.state.vswitches_in(vpc.id) if v.cidr.overlaps(cidr)), None)
    if clash:
        message = f"{cidr} overlaps {clash.cidr} of the vSwitch {clash.id}."
        raise Refusal("InvalidCidrBlock.Overlapped", message)
    return cidr


def _ipv6_cidr(world: World, vpc: VpcRecord, number: int | None) -> IPv6Network | None:
    if number is None:
        return None
    if vpc.ipv6_cidr is None:
        raise Refusal("InvalidVpc.Ipv6NotEnabled", f"IPv6 is not enabled in the VPC {vpc.id}.")
    if not 0 <= number <= 255:
        raise invalid("Ipv6CidrBlock", f"{number} is not in 0 to 255")
    base = int(vpc.ipv6_cidr.network_address) + (number << 64)
    cidr = IPv6Network((base, 64))
    if any(vswitch.ipv6_cidr == cidr for vswitch in world.state.vswitches_in(vpc.id)):
        message = f"{cidr} is the range of another vSwitch."
        raise Refusal("InvalidIpv6CidrBlock.Overlapped", message)
    return cidr


class DescribeVSwitches(Request):
    """The parameters. VSwitchId is one id."""

    v_switch_id: str = ""
    vpc_id: str = ""
    zone_id: str = ""
    v_switch_name: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10


def describe_vswitches(world: World, request: DescribeVSwitches) -> Answer:
    """List vSwitches, with the number of IPv4 addresses that are free now."""
    found = [v for v in world.state.vswitches.values() if _matches(v, request)]
    size = min(request.page_size, MAX_VSWITCHES_PER_PAGE)
    page, total = page_by_number(found, number=request.page_number, size=size)
    return {
        "VSwitches": {"VSwitch": [_described(world, vswitch) for vswitch in page]},
        "TotalCount": total,
        "PageNumber": request.page_number,
        "PageSize": size,
    }


def _matches(vswitch: VSwitchRecord, request: DescribeVSwitches) -> bool:
    equal = (
        (request.v_switch_id, vswitch.id),
        (request.vpc_id, vswitch.vpc_id),
        (request.zone_id, vswitch.zone_id),
        (request.v_switch_name, vswitch.name),
    )
    return all(not wanted or wanted == value for wanted, value in equal) and has_tags(
        vswitch.tags, request.tag
    )


def free_count(world: World, vswitch: VSwitchRecord) -> int:
    """Return how many IPv4 addresses of a vSwitch can be given now."""
    return usable_count(vswitch.cidr) - len(world.state.taken_v4(vswitch.id))


def _described(world: World, vswitch: VSwitchRecord) -> dict[str, Any]:
    vpc = world.state.vpc(vswitch.vpc_id)
    return {
        "VSwitchId": vswitch.id,
        "VSwitchName": vswitch.name,
        "Description": vswitch.description,
        "VpcId": vswitch.vpc_id,
        "ZoneId": vswitch.zone_id,
        "CidrBlock": str(vswitch.cidr),
        "Ipv6CidrBlock": str(vswitch.ipv6_cidr or ""),
        "EnabledIpv6": vswitch.ipv6_cidr is not None,
        "AvailableIpAddressCount": free_count(world, vswitch),
        "Status": "Pending" if world.is_pending(vswitch.created_at) else "Available",
        "IsDefault": False,
        "RouteTable": {"RouteTableId": vpc.route_table_id, "RouteTableType": "System"},
        "CreationTime": utc_seconds(vswitch.created_at),
        "OwnerId": int(world.place.account_id),
        "ResourceGroupId": vpc.resource_group_id,
        "Tags": views.vpc_tag_list(vswitch.tags),
    }


class DeleteVSwitch(Request):
    """The parameters."""

    v_switch_id: str


def delete_vswitch(world: World, request: DeleteVSwitch) -> Answer:
    """Delete a vSwitch in which no ENI is left."""
    vswitch = world.state.vswitch(request.v_switch_id)
    left = next(world.state.enis_in(vswitch.id), None)
    if left is not None:
        message = f"{vswitch.id} still has ENIs: {left.id} for one."
        raise forbidden("DependencyViolation.NetworkInterface", message)
    if any(world.state.balancing.addresses_in(vswitch.id)):
        raise forbidden("DependencyViolation.SLB", f"{vswitch.id} still has load balancers.")
    world.state.remove(vswitch)
    world.state.cursors.pop(vswitch.id, None)
    return {}


ACTIONS: Actions = {
    "CreateVSwitch": Action(request=CreateVSwitch, run=create_vswitch),
    "DescribeVSwitches": Action(request=DescribeVSwitches, run=describe_vswitches),
    "DeleteVSwitch": Action(request=DeleteVSwitch, run=delete_vswitch),
}
