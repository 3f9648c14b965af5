"""ECS: create, delete, attach, detach and modify ENIs.

Source: OpenAPI ECS 2014-05-26, the actions' own pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from msgspec import UNSET, UnsetType

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.eni_factory import (
    ENIWish,
    check_count,
    check_groups,
    check_tags,
    make_eni,
    one_of,
)
from terway.lab.cloud.instance_types import InstanceType
from terway.lab.cloud.prefixes import check_prefix_count
from terway.lab.cloud.records import ENIRecord, InstanceRecord, InstanceStatus
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, unsupported
from terway.lab.cloud.requests import Regional, Tag
from terway.lab.cloud.transitions import ENIAttached, ENIDeleted, ENIDetached
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType

HIGH_PERFORMANCE = "HighPerformance"  # elastic RDMA


class CreateNetworkInterface(Regional):
    """The parameters. Trunks and queues are not emulated."""

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
    if request.instance_type != "Secondary":
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


class AttachNetworkInterface(Regional):
    """The parameters. Trunks and several network cards are not emulated."""

    network_interface_id: str
    instance_id: str


def attach_network_interface(world: World, request: AttachNetworkInterface) -> Answer:
    """Begin to attach an ENI to an instance."""
    eni = world.state.eni(request.network_interface_id)
    instance = world.state.ecs(request.instance_id)
    _expect(eni, ENIStatus.AVAILABLE)
    _check_place(eni, instance)
    check_ecs_state(instance)
    attached = world.state.enis_of(instance.id)
    _check_room(world, eni, instance, attached)
    slot = _free_slot(attached)
    world.state.put(replace(eni, status=ENIStatus.ATTACHING, instance_id=instance.id, slot=slot))
    world.later(world.delays.attach_s, ENIAttached(eni_id=eni.id))
    return {}


def _expect(eni: ENIRecord, *statuses: ENIStatus) -> None:
    if eni.status not in statuses:
        wanted = "/".join(status.value for status in statuses)
        message = (
            "The operation is not allowed in the current ENI state. "
            f'Expecting status is "{wanted}" while current status is "{eni.status.value}".'
        )
        raise Refusal("InvalidOperation.InvalidEniState", message)


def _check_place(eni: ENIRecord, instance: InstanceRecord) -> None:
    if eni.vpc_id != instance.vpc_id:
        message = "The ENI and the instance are not in the same VPC."
        raise forbidden("InvalidOperation.VpcMismatch", message)
    if eni.zone_id != instance.zone_id:
        message = f"The ENI is in {eni.zone_id}, the instance in {instance.zone_id}."
        raise forbidden("InvalidOperation.AvailabilityZoneMismatch", message)


def check_ecs_state(instance: InstanceRecord) -> None:
    """Refuse an instance that is neither running nor stopped."""
    if instance.status not in (InstanceStatus.RUNNING, InstanceStatus.STOPPED):
        message = f"The instance is {instance.status.value}; it must be Running or Stopped."
        raise Refusal("InvalidOperation.InvalidEcsState", message)


def _check_room(
    world: World, eni: ENIRecord, instance: InstanceRecord, attached: Sequence[ENIRecord]
) -> None:
    kind = world.types[instance.instance_type]
    if len(attached) >= kind.eni_quantity:
        message = f"{kind.id} can have {kind.eni_quantity} ENIs, and has them."
        raise forbidden("EniPerInstanceLimitExceeded", message)
    if eni.is_erdma:
        _check_erdma(kind, attached)
    check_address_limits(world, eni, instance)


def _check_erdma(kind: InstanceType, attached: Sequence[ENIRecord]) -> None:
    if kind.eri_quantity is None:
        raise unsupported("AttachNetworkInterface", f"EriQuantity of {kind.id}")
    if sum(eni.is_erdma for eni in attached) >= kind.eri_quantity:
        message = f"{kind.id} can have {kind.eri_quantity} elastic RDMA interfaces."
        raise forbidden("EniPerInstanceLimitExceeded", message)


def check_address_limits(world: World, eni: ENIRecord, instance: InstanceRecord) -> None:
    """Refuse more addresses on an ENI than the instance's type allows, or than is known of it."""
    kind = world.types[instance.instance_type]
    ipv4 = len(eni.ipv4) + len(eni.ipv4_prefixes)
    ipv6 = len(eni.ipv6) + len(eni.ipv6_prefixes)
    _check_limit(4, kind.id, ipv4, kind.eni_private_ip_address_quantity)
    if ipv6:
        _check_limit(6, kind.id, ipv6, kind.eni_ipv6_address_quantity)


def _check_limit(version: int, kind: str, wanted: int, limit: int | None) -> None:
    if limit is None:
        message = f"No source gives the IPv{version} addresses per ENI of {kind}."
        raise forbidden(f"InvalidOperation.Ipv{version}NotSupport", message)
    if wanted > limit:
        message = f"An ENI of {kind} can have {limit} IPv{version} addresses, {wanted} wanted."
        raise forbidden(f"InvalidOperation.Ipv{version}CountExceeded", message)


def _free_slot(attached: Sequence[ENIRecord]) -> int:
    used = {eni.slot for eni in attached}
    return next(slot for slot in range(1, len(used) + 2) if slot not in used)


class DetachNetworkInterface(Regional):
    """The parameters."""

    network_interface_id: str
    instance_id: str


def detach_network_interface(world: World, request: DetachNetworkInterface) -> Answer:
    """Begin to detach an ENI from its instance."""
    eni = world.state.eni(request.network_interface_id)
    instance = world.state.ecs(request.instance_id)
    if eni.type is ENIType.PRIMARY:
        message = "The primary ENI of an instance cannot be detached."
        raise Refusal("InvalidOperation.DetachPrimaryEniNotAllowed", message)
    _expect(eni, ENIStatus.IN_USE)
    if eni.instance_id != instance.id:
        raise invalid("InstanceId", f"{eni.id} is attached to {eni.instance_id}")
    check_ecs_state(instance)
    world.state.put(replace(eni, status=ENIStatus.DETACHING))
    world.later(world.delays.detach_s, ENIDetached(eni_id=eni.id))
    return {}


class DeleteNetworkInterface(Regional):
    """The parameters."""

    network_interface_id: str


def delete_network_interface(world: World, request: DeleteNetworkInterface) -> Answer:
    """Begin to delete an ENI; its addresses are taken until it is gone."""
    eni = world.state.eni(request.network_interface_id)
    _expect(eni, ENIStatus.AVAILABLE)
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
    "AttachNetworkInterface": Action(request=AttachNetworkInterface, run=attach_network_interface),
    "DetachNetworkInterface": Action(request=DetachNetworkInterface, run=detach_network_interface),
    "DeleteNetworkInterface": Action(request=DeleteNetworkInterface, run=delete_network_interface),
    "ModifyNetworkInterfaceAttribute": Action(
        request=ModifyNetworkInterfaceAttribute, run=modify_network_interface_attribute
    ),
}
