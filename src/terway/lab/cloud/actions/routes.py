"""VPC: the route table of a VPC and its entries.

System entries (one per vSwitch and family, and the provider's 100.64.0.0/10) are shown, and cannot
be changed. Custom entries lead to an instance's primary ENI or to an ENI.
Source: OpenAPI VPC 2016-04-28, the actions' own pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.paging import page_by_number
from terway.lab.cloud.records import RouteRecord, VpcRecord
from terway.lab.cloud.refusal import Refusal, invalid, missing, not_found, unsupported
from terway.lab.cloud.requests import Request, parse_network
from terway.lab.cloud.world import World, utc_seconds
from terway.model.address import IPNetwork

NEXT_HOP_TYPES = ("Instance", "NetworkInterface")
PROVIDER_CIDR = "100.64.0.0/10"
MAX_PER_PAGE = 100
MAX_TABLES_PER_PAGE = 50


class CreateRouteEntry(Request):
    """The parameters. Several next hops for one destination are not emulated."""

    route_table_id: str
    destination_cidr_block: str
    next_hop_id: str
    next_hop_type: str = "Instance"
    route_entry_name: str = ""
    description: str = ""
    client_token: str = ""


def create_route_entry(world: World, request: CreateRouteEntry) -> Answer:
    """Add a custom route to a VPC's route table."""
    vpc = world.state.table_owner(request.route_table_id)
    destination = parse_network("DestinationCidrBlock", request.destination_cidr_block)
    _check_destination(world, vpc, destination)
    _check_next_hop(world, vpc, request)
    route = RouteRecord(
        id=world.ids.new("rte"),
        serial=world.ids.serial(),
        route_table_id=vpc.route_table_id,
        destination=destination,
        next_hop_type=request.next_hop_type,
        next_hop_id=request.next_hop_id,
        name=request.route_entry_name,
        description=request.description,
    )
    world.state.put(route)
    return {"RouteEntryId": route.id}


def _check_destination(world: World, vpc: VpcRecord, destination: IPNetwork) -> None:
    routes = list(_custom(world, vpc))
    if any(route.destination == destination for route in routes):
        message = f"There is a route entry for {destination} already."
        raise Refusal("RouterEntryConflict.Duplicated", message)
    if len(routes) >= world.limits.routes_per_table:
        message = f"A route table can have {world.limits.routes_per_table} custom entries."
        raise Refusal("RouteEntryCount.Exceeded", message)
    for vswitch in world.state.vswitches_in(vpc.id):
        own = vswitch.cidr if destination.version == 4 else vswitch.ipv6_cidr
        if own is not None and _is_within(destination, own):
            message = f"{destination} is in the range of the vSwitch {vswitch.id}."
            raise Refusal("RouterEntryConflict.Duplicated", message)


def _is_within(inner: IPNetwork, outer: IPNetwork) -> bool:
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _check_next_hop(world: World, vpc: VpcRecord, request: CreateRouteEntry) -> None:
    if request.next_hop_type not in NEXT_HOP_TYPES:
        raise unsupported("CreateRouteEntry", f"NextHopType={request.next_hop_type}")
    table = world.state.instances if request.next_hop_type == "Instance" else world.state.enis
    hop = table.get(request.next_hop_id)
    if hop is None or hop.vpc_id != vpc.id:
        raise not_found("NextHopId", request.next_hop_id)


def _custom(world: World, vpc: VpcRecord) -> Iterator[RouteRecord]:
    routes = world.state.routes.values()
    return (route for route in routes if route.route_table_id == vpc.route_table_id)


class DeleteRouteEntry(Request):
    """The parameters: the entry's id, or its table, destination and next hop."""

    route_entry_id: str = ""
    route_table_id: str = ""
    destination_cidr_block: str = ""
    next_hop_id: str = ""


def delete_route_entry(world: World, request: DeleteRouteEntry) -> Answer:
    """Remove a custom route."""
    if not request.route_entry_id and not request.route_table_id:
        raise missing("RouteEntryId")
    found = [route for route in world.state.routes.values() if _is_named(route, request)]
    if not found:
        raise not_found("RouteEntry", request.route_entry_id or request.destination_cidr_block)
    world.state.remove(*found)
    return {}


def _is_named(route: RouteRecord, request: DeleteRouteEntry) -> bool:
    equal = (
        (request.route_entry_id, route.id),
        (request.route_table_id, route.route_table_id),
        (request.destination_cidr_block, str(route.destination)),
        (request.next_hop_id, route.next_hop_id),
    )
    return all(not wanted or wanted == value for wanted, value in equal)


class DescribeRouteEntryList(Request):
    """The parameters."""

    route_table_id: str
    route_entry_type: str = ""
    route_entry_id: str = ""
    destination_cidr_block: str = ""
    next_hop_id: str = ""
    next_hop_type: str = ""
    ip_version: str = ""
    max_result: int = 50
    next_token: str = ""


def describe_route_entry_list(world: World, request: DescribeRouteEntryList) -> Answer:
    """List a route table's entries, the system's first."""
    vpc = world.state.table_owner(request.route_table_id)
    entries = [
        entry
        for entry in (*_system_entries(world, vpc), *map(_described, _custom(world, vpc)))
        if _entry_matches(entry, request)
    ]
    start = _start(request.next_token)
    size = min(max(request.max_result, 1), MAX_PER_PAGE)
    end = start + size
    return {
        "RouteEntrys": {"RouteEntry": entries[start:end]},
        "NextToken": str(end) if end < len(entries) else "",
        "TotalCount": len(entries),
    }


def _start(token: str) -> int:
    if token and not token.isdigit():
        raise invalid("NextToken", "it did not come from this cloud")
    return int(token or 0)


def _entry_matches(entry: dict[str, Any], request: DescribeRouteEntryList) -> bool:
    hop = entry["NextHops"]["NextHop"][0]
    equal = (
        (request.route_entry_type, entry["Type"]),
        (request.route_entry_id, entry["RouteEntryId"]),
        (request.destination_cidr_block, entry["DestinationCidrBlock"]),
        (request.next_hop_id, hop["NextHopId"]),
        (request.next_hop_type, hop["NextHopType"]),
        (request.ip_version.lower(), entry["IpVersion"].lower()),
    )
    return all(not wanted or wanted == value for wanted, value in equal)


def _system_entries(world: World, vpc: VpcRecord) -> Iterator[dict[str, Any]]:
    for vswitch in world.state.vswitches_in(vpc.id):
        for cidr in filter(None, (vswitch.cidr, vswitch.ipv6_cidr)):
            yield _entry(vpc.route_table_id, str(cidr), kind="System")
    yield _entry(vpc.route_table_id, PROVIDER_CIDR, kind="System")


def _described(route: RouteRecord) -> dict[str, Any]:
    return _entry(
        route.route_table_id,
        str(route.destination),
        kind="Custom",
        entry_id=route.id,
        name=route.name,
        description=route.description,
        next_hop=(route.next_hop_type, route.next_hop_id),
    )


def _entry(
    table_id: str,
    destination: str,
    *,
    kind: str,
    entry_id: str = "",
    name: str = "",
    description: str = "",
    next_hop: tuple[str, str] = ("local", ""),
) -> dict[str, Any]:
    hop = {"NextHopType": next_hop[0], "NextHopId": next_hop[1], "Enabled": 1, "Weight": 0}
    return {
        "RouteTableId": table_id,
        "RouteEntryId": entry_id,
        "RouteEntryName": name,
        "Description": description,
        "DestinationCidrBlock": destination,
        "IpVersion": "IPv6" if ":" in destination else "IPv4",
        "Type": kind,
        "Status": "Available",
        "NextHops": {"NextHop": [hop]},
    }


class DescribeRouteTableList(Request):
    """The parameters."""

    vpc_id: str = ""
    route_table_id: str = ""
    router_id: str = ""
    page_number: int = 1
    page_size: int = 10


def describe_route_table_list(world: World, request: DescribeRouteTableList) -> Answer:
    """List route tables: one, the system's, for each VPC."""
    found = [
        vpc
        for vpc in world.state.vpcs.values()
        if request.vpc_id in ("", vpc.id)
        and request.route_table_id in ("", vpc.route_table_id)
        and request.router_id in ("", vpc.router_id)
    ]
    size = min(request.page_size, MAX_TABLES_PER_PAGE)
    page, total = page_by_number(found, number=request.page_number, size=size)
    return {
        "RouterTableList": {"RouterTableListType": [_described_table(world, v) for v in page]},
        "TotalCount": total,
        "PageNumber": request.page_number,
        "PageSize": size,
    }


def _described_table(world: World, vpc: VpcRecord) -> dict[str, Any]:
    vswitches = world.state.vswitches_in(vpc.id)
    return {
        "RouteTableId": vpc.route_table_id,
        "RouteTableType": "System",
        "RouteTableName": "",
        "RouterId": vpc.router_id,
        "RouterType": "VRouter",
        "VpcId": vpc.id,
        "VSwitchIds": {"VSwitchId": [vswitch.id for vswitch in vswitches]},
        "AssociateType": "VSwitch",
        "Status": "Available",
        "CreationTime": utc_seconds(vpc.created_at),
        "OwnerId": int(world.place.account_id),
        "ResourceGroupId": vpc.resource_group_id,
        "Tags": views.vpc_tag_list(()),
    }


ACTIONS: Actions = {
    "CreateRouteEntry": Action(request=CreateRouteEntry, run=create_route_entry),
    "DeleteRouteEntry": Action(request=DeleteRouteEntry, run=delete_route_entry),
    "DescribeRouteEntryList": Action(request=DescribeRouteEntryList, run=describe_route_entry_list),
    "DescribeRouteTableList": Action(request=DescribeRouteTableList, run=describe_route_table_list),
}
