"""CLB: access control lists: whose packets a listener takes, or refuses.

Source: OpenAPI SLB 2014-05-15, the actions' own pages: AclEntrys is a JSON list of entry, comment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_words import parse_json, tag_set
from terway.lab.cloud.balancer_records import AclRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_number
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.requests import Regional, Request, Tag, parse_network
from terway.lab.cloud.world import World, utc_seconds
from terway.model.address import IPNetwork

MAX_PER_CALL = 50  # entries
MAX_ENTRIES = 300
MAX_PER_PAGE = 50


class _Entry(msgspec.Struct):
    entry: str
    comment: str = ""


class CreateAccessControlList(Regional):
    """The parameters."""

    acl_name: str
    address_ip_version: str = msgspec.field(default="ipv4", name="AddressIPVersion")
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()


def create_acl(world: World, request: CreateAccessControlList) -> Answer:
    """Make an empty list."""
    if request.address_ip_version not in ("ipv4", "ipv6"):
        raise invalid("AddressIPVersion", "it must be ipv4 or ipv6")
    made = AclRecord(
        id=world.ids.new("acl"),
        serial=world.ids.serial(),
        name=request.acl_name,
        ip_version=request.address_ip_version,
        created_at=world.now(),
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.balancing.put(made)
    return {"AclId": made.id}


class OneAcl(Request):
    """The parameters of an action about one list."""

    acl_id: str


def delete_acl(world: World, request: OneAcl) -> Answer:
    """Delete a list that no listener has."""
    held = world.state.balancing
    acl = held.acl(request.acl_id)
    if _related(world, acl):
        raise Refusal("AclInUsed", f"The acl {acl.id} is used by listeners.")
    held.remove(acl)
    return {}


class AclEntries(OneAcl):
    """The parameters of adding and removing entries."""

    acl_entrys: str


def _parse(acl: AclRecord, text: str) -> dict[IPNetwork, str]:
    found = parse_json("AclEntrys", text, list[_Entry])
    if len(found) > MAX_PER_CALL:
        raise invalid("AclEntrys", f"at most {MAX_PER_CALL} entries at once")
    parsed = {parse_network("AclEntrys", one.entry): one.comment for one in found}
    other = next((one for one in parsed if f"ipv{one.version}" != acl.ip_version), None)
    if other is not None:
        raise invalid("AclEntrys", f"{other} is not of {acl.ip_version}")
    return parsed


def add_entries(world: World, request: AclEntries) -> Answer:
    """Add ranges; one that is there already gets the new comment."""
    acl = world.state.balancing.acl(request.acl_id)
    merged = {**dict(acl.entries), **_parse(acl, request.acl_entrys)}
    if len(merged) > MAX_ENTRIES:
        raise Refusal("AclEntryLimitExceeded", f"A list can have {MAX_ENTRIES} entries.")
    world.state.balancing.put(replace(acl, entries=tuple(merged.items())))
    return {}


def remove_entries(world: World, request: AclEntries) -> Answer:
    """Remove ranges; one that is not there is none."""
    acl = world.state.balancing.acl(request.acl_id)
    gone = _parse(acl, request.acl_entrys)
    kept = tuple(one for one in acl.entries if one[0] not in gone)
    world.state.balancing.put(replace(acl, entries=kept))
    return {}


class DescribeAccessControlListAttribute(OneAcl):
    """The parameters. All entries are on one page."""

    acl_entry_comment: str = ""
    page: int = 1
    page_size: int = MAX_PER_PAGE


def describe_acl(world: World, request: DescribeAccessControlListAttribute) -> Answer:
    """Describe a list with its entries and the listeners that have it."""
    acl = world.state.balancing.acl(request.acl_id)
    entries = [
        {"AclEntryIP": str(network), "AclEntryComment": comment}
        for network, comment in acl.entries
        if request.acl_entry_comment in ("", comment)
    ]
    page, total = page_by_number(entries, number=request.page, size=request.page_size)
    return {
        **_described(acl),
        "AclEntrys": {"AclEntry": page},
        "TotalAclEntry": total,
        "RelatedListeners": {"RelatedListener": _related(world, acl)},
    }


def _related(world: World, acl: AclRecord) -> list[dict[str, Any]]:
    return [
        {
            "LoadBalancerId": one.balancer_id,
            "ListenerPort": one.port,
            "Protocol": one.protocol,
            "AclType": one.acl_type,
        }
        for one in world.state.balancing.clb_listeners.values()
        if one.acl_id == acl.id and one.is_acl_on
    ]


def _described(acl: AclRecord) -> dict[str, Any]:
    return {
        "AclId": acl.id,
        "AclName": acl.name,
        "AddressIPVersion": acl.ip_version,
        "CreateTime": utc_seconds(acl.created_at),
        "ResourceGroupId": acl.resource_group_id,
        "Tags": tag_set(acl.tags),
    }


class DescribeAccessControlLists(Regional):
    """The parameters."""

    acl_name: str = ""
    address_ip_version: str = msgspec.field(default="", name="AddressIPVersion")
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10


def describe_acls(world: World, request: DescribeAccessControlLists) -> Answer:
    """List access control lists."""
    found = [
        one
        for one in world.state.balancing.acls.values()
        if request.acl_name in ("", one.name)
        if request.address_ip_version in ("", one.ip_version)
        if has_tags(one.tags, request.tag)
    ]
    size = min(request.page_size, MAX_PER_PAGE)
    page, total = page_by_number(found, number=request.page_number, size=size)
    return {
        "Acls": {"Acl": [_described(one) for one in page]},
        "Count": len(page),
        "TotalCount": total,
        "PageNumber": request.page_number,
        "PageSize": size,
    }


ACTIONS: Actions = {
    "CreateAccessControlList": Action(request=CreateAccessControlList, run=create_acl),
    "DeleteAccessControlList": Action(request=OneAcl, run=delete_acl),
    "AddAccessControlListEntry": Action(request=AclEntries, run=add_entries),
    "RemoveAccessControlListEntry": Action(request=AclEntries, run=remove_entries),
    "DescribeAccessControlListAttribute": Action(
        request=DescribeAccessControlListAttribute, run=describe_acl
    ),
    "DescribeAccessControlLists": Action(request=DescribeAccessControlLists, run=describe_acls),
}
