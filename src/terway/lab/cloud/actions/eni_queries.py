"""ECS: describe ENIs.

Source: OpenAPI ECS 2014-05-26, DescribeNetworkInterfaces and DescribeNetworkInterfaceAttribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.paging import page_by_number, page_by_token, serial_of
from terway.lab.cloud.records import ENIRecord, Tags
from terway.lab.cloud.refusal import invalid
from terway.lab.cloud.requests import Regional, Tag
from terway.lab.cloud.trunks import members_of
from terway.lab.cloud.world import World
from terway.model.address import IPAddress
from terway.model.eni import ENIType
from terway.model.ids import InstanceId

MAX_IDS = 100
PAGE_SIZES = (10, 500)  # a MaxResults outside of them counts as the nearer one


class DescribeNetworkInterfaces(Regional):
    """The parameters: filters that must all match, and either kind of paging."""

    network_interface_id: tuple[str, ...] = ()
    network_interface_name: str = ""
    instance_id: str = ""
    v_switch_id: str = ""
    vpc_id: str = ""
    security_group_id: str = ""
    type: str = ""
    status: str = ""
    primary_ip_address: str = ""
    private_ip_address: tuple[str, ...] = ()
    ipv6_address: tuple[str, ...] = ()
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10
    max_results: int | None = None
    next_token: str = ""


def describe_network_interfaces(world: World, request: DescribeNetworkInterfaces) -> Answer:
    """List ENIs by page number, or by token when MaxResults or NextToken is given."""
    if len(request.network_interface_id) > MAX_IDS:
        raise invalid("NetworkInterfaceId.N", f"at most {MAX_IDS} at once")
    found = (eni for eni in _candidates(world, request) if _matches(eni, request))
    if request.max_results is None and not request.next_token:
        page, total = page_by_number(
            found, number=request.page_number, size=min(request.page_size, PAGE_SIZES[1])
        )
        paging: Answer = {
            "PageNumber": request.page_number,
            "PageSize": request.page_size,
            "TotalCount": total,
            "NextToken": "",
        }
    else:
        size = min(max(request.max_results or 0, PAGE_SIZES[0]), PAGE_SIZES[1])
        page, token = page_by_token(found, token=request.next_token, size=size)
        paging = {"NextToken": token, "TotalCount": 0}  # there, too, only pages by number count
    shown = [views.described_eni(world, eni) for eni in page]
    return {"NetworkInterfaceSets": {"NetworkInterfaceSet": shown}, **paging}


def _candidates(world: World, request: DescribeNetworkInterfaces) -> Iterable[ENIRecord]:
    """Return, in the order of creation, the ENIs among which those asked for are."""
    enis = world.listed_enis()
    if request.network_interface_id:
        named = (enis.get(eni_id) for eni_id in dict.fromkeys(request.network_interface_id))
        return sorted((eni for eni in named if eni is not None), key=lambda eni: eni.serial)
    if request.instance_id and enis is world.state.enis:
        mine = world.state.enis_of(InstanceId(request.instance_id))
        return sorted(mine, key=lambda eni: eni.serial)
    after = serial_of(request.next_token)
    return (eni for eni in enis.values() if eni.serial > after)


def _matches(eni: ENIRecord, request: DescribeNetworkInterfaces) -> bool:
    equal = (
        (request.network_interface_name, eni.name),
        (request.instance_id, eni.instance_id),
        (request.v_switch_id, eni.vswitch_id),
        (request.vpc_id, eni.vpc_id),
        (request.type, eni.type.value),
        (request.status, eni.status.value),
        (request.primary_ip_address, request.primary_ip_address and str(eni.ipv4[0])),
        (request.resource_group_id, eni.resource_group_id),
    )
    return (
        all(not wanted or wanted == value for wanted, value in equal)
        and request.security_group_id in ("", *eni.security_group_ids)
        and (not request.private_ip_address or _has_any(eni.ipv4, request.private_ip_address))
        and (not request.ipv6_address or _has_any(eni.ipv6, request.ipv6_address))
        and has_tags(eni.tags, request.tag)
    )


def _has_any(addresses: Iterable[IPAddress], wanted: Sequence[str]) -> bool:
    return not set(map(str, addresses)).isdisjoint(wanted)


def has_tags(tags: Tags, wanted: Sequence[Tag]) -> bool:
    """Return whether all wanted tags are there; one without a value asks for the key only."""
    if not wanted:
        return True
    present = dict(tags)
    return all(
        tag.key in present and (not tag.value or present[tag.key] == tag.value) for tag in wanted
    )


class DescribeNetworkInterfaceAttribute(Regional):
    """The parameters. Attribute is a hint which part is wanted; the whole is answered."""

    network_interface_id: str
    attribute: str = ""


def describe_network_interface_attribute(
    world: World, request: DescribeNetworkInterfaceAttribute
) -> Answer:
    """Describe one ENI; of a trunk, with the ids of its members."""
    eni = world.state.eni(request.network_interface_id)
    shown = views.described_eni(world, eni)
    if eni.type is ENIType.TRUNK and eni.instance_id is not None:
        members = [one.id for one in members_of(world.state.enis_of(eni.instance_id))]
        listed = {"MemberNetworkInterfaceIds": {"MemberNetworkInterfaceId": members}}
        shown["Attachment"] = {**shown["Attachment"], **listed}
    return shown


ACTIONS: Actions = {
    "DescribeNetworkInterfaces": Action(
        request=DescribeNetworkInterfaces, run=describe_network_interfaces
    ),
    "DescribeNetworkInterfaceAttribute": Action(
        request=DescribeNetworkInterfaceAttribute, run=describe_network_interface_attribute
    ),
}
