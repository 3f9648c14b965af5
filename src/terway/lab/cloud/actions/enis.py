"""ECS: create, delete and modify ENIs.

Source: OpenAPI ECS 2014-05-26, the actions' own pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from msgspec import UNSET, UnsetType

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.eni_checks import expect_status
from terway.lab.cloud.eni_factory import (
    ENIWish,
    check_count,
    check_groups,
    check_tags,
    make_eni,
    one_of,
)
from terway.lab.cloud.prefixes import check_prefix_count
from terway.lab.cloud.refusal import Refusal, invalid, unsupported
from terway.lab.cloud.requests import Regional, Tag
from terway.lab.cloud.transitions import ENIDeleted
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType

HIGH_PERFORMANCE = "HighPerformance"  # elastic RDMA
_KINDS = {kind.value: kind for kind in (ENIType.SECONDARY, ENIType.TRUNK)}


class CreateNetworkInterface(Regional):
    """The parameters. Queues are not emulated."""

    v_switch_id: str
    security_group_id: str = ""
    security_group_ids: tuple[str, ...] = ()
    primary_ip_address: IPv4Address | None = None
    private_ip_address: tuple[IPv4Address, ...] = ()
    secondary_private_ip_address_count: int | None = None
    ipv6_address: tuple[IPv6Address, ...] = ()
    ipv6_address_count: int | None = None
    ipv4_prefix_count: int | None = None
    ipv6_prefix_count: int | None = None
    network_interface_name: str = ""
    description: str = ""
    instance_type: str = "Secondary"
    network_interface_traffic_mode: str = "Standard"
    delete_on_release: bool = True
    source_dest_check: bool = True  # there: false; here a spoofed source is to be noticed
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_network_interface(world: World, request: CreateNetworkInterface) -> Answer:
    """Make an ENI; it is Available at once."""
    _check_kind(request)
    vswitch = world.state.vswitch(request.v_switch_id)
    ids = one_of(request.security_group_id, request.security_group_ids)
    _check_either(
        "PrivateIpAddress.N",
        request.private_ip_address,
        "SecondaryPrivateIpAddressCount",
        request.secondary_private_ip_address_count,
    )
    _check_either(
        "Ipv6Address.N", request.ipv6_address, "Ipv6AddressCount", request.ipv6_address_count
    )
    _check_no_mixture(request)
    wish = ENIWish(
        vswitch=vswitch,
        groups=check_groups(world, vswitch, ids),
        primary=request.primary_ip_address,
        secondary=request.private_ip_address,
        secondary_count=check_count(
            "SecondaryPrivateIpAddressCount",
            request.secondary_private_ip_address_count,
            most=world.limits.ipv4_per_create,
        ),
        ipv6=request.ipv6_address,
        ipv6_count=check_count(
            "Ipv6AddressCount", request.ipv6_address_count, most=world.limits.ipv6_per_call
        ),
        ipv4_prefixes=check_prefix_count("Ipv4PrefixCount", request.ipv4_prefix_count),
        ipv6_prefixes=check_prefix_count("Ipv6PrefixCount", request.ipv6_prefix_count),
        is_erdma=request.network_interface_traffic_mode == HIGH_PERFORMANCE,
        type=_KINDS[request.instance_type],
        name=request.network_interface_name,
        description=_description(request.description),
        delete_on_release=request.delete_on_release,
        source_dest_check=request.source_dest_check,
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    eni = make_eni(world, wish)
    world.state.put(eni)
    return views.new_eni(world, eni)


def _check_kind(request: CreateNetworkInterface) -> None:
    if request.instance_type not in _KINDS:
        name = f"InstanceType={request.instance_type}"
        raise unsupported("CreateNetworkInterface", name)
    if request.network_interface_traffic_mode not in ("Standard", HIGH_PERFORMANCE):
        name = f"NetworkInterfaceTrafficMode={request.network_interface_traffic_mode}"
        raise unsupported("CreateNetworkInterface", name)


def _check_no_mixture(request: CreateNetworkInterface) -> None:
    """Refuse addresses and prefixes of one family in one call."""
    v4 = request.secondary_private_ip_address_count or request.private_ip_address
    v6 = request.ipv6_address_count or request.ipv6_address
    if (v4 and request.ipv4_prefix_count) or (v6 and request.ipv6_prefix_count):
        message = "Addresses and prefixes of one family cannot be asked for together."
        raise Refusal("InvalidParameter.Conflict", message)


def _check_either(named: str, values: Sequence[object], counted: str, count: int | None) -> None:
    if values and count is not None:
        message = f"{named} and {counted} cannot be used together."
        raise Refusal("InvalidParameter.Conflict", message)


def _description(text: str) -> str:
    if text.startswith(("http://", "https://")) or len(text) > 256:
        raise invalid("Description", "at most 256 characters, and no URL at the beginning")
    return text


class DeleteNetworkInterface(Regional):
    """The parameters."""

    network_interface_id: str


def delete_network_interface(world: World, request: DeleteNetworkInterface) -> Answer:
    """Begin to delete an ENI; its addresses are taken until it is gone."""
    eni = world.state.eni(request.network_interface_id)
    expect_status(eni, ENIStatus.AVAILABLE)
    world.state.put(replace(eni, status=ENIStatus.DELETING))
    world.later(world.delays.delete_s, ENIDeleted(eni_id=eni.id))
    return {}


class ModifyNetworkInterfaceAttribute(Regional):
    """The parameters; what is not given stays as it is."""

    network_interface_id: str
    network_interface_name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    security_group_id: tuple[str, ...] | UnsetType = UNSET
    delete_on_release: bool | UnsetType = UNSET
    source_dest_check: bool | UnsetType = UNSET


def modify_network_interface_attribute(
    world: World, request: ModifyNetworkInterfaceAttribute
) -> Answer:
    """Change an ENI's names, security groups and switches, at once."""
    eni = world.state.eni(request.network_interface_id)
    changed = eni
    if request.security_group_id is not UNSET:
        vswitch = world.state.vswitch(eni.vswitch_id)
        groups = check_groups(world, vswitch, request.security_group_id)
        changed = replace(changed, security_group_ids=tuple(group.id for group in groups))
    if request.network_interface_name is not UNSET:
        changed = replace(changed, name=request.network_interface_name)
    if request.description is not UNSET:
        changed = replace(changed, description=_description(request.description))
    if request.delete_on_release is not UNSET:
        changed = replace(changed, delete_on_release=request.delete_on_release)
    if request.source_dest_check is not UNSET:
        changed = replace(changed, source_dest_check=request.source_dest_check)
    world.state.put(changed)
    return {}


ACTIONS: Actions = {
    "CreateNetworkInterface": Action(request=CreateNetworkInterface, run=create_network_interface),
    "DeleteNetworkInterface": Action(request=DeleteNetworkInterface, run=delete_network_interface),
    "ModifyNetworkInterfaceAttribute": Action(
        request=ModifyNetworkInterfaceAttribute, run=modify_network_interface_attribute
    ),
}
