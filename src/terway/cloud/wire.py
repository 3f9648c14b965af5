"""What do the cloud's answers look like, and which model values are they?

The structs have only the fields we use, under the API's names in snake case; everything else in
an answer is skipped. Lists come wrapped twice: ``{"PrivateIpSets": {"PrivateIpSet": [...]}}``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

import msgspec

from terway.model.eni import ENI, ENIStatus, ENIType, InstanceLimits, VSwitch
from terway.model.errors import TransientError
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

Choice = TypeVar("Choice", ENIType, ENIStatus)


class ErrorAnswer(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The body of a refusal."""

    code: str = ""
    message: str = ""
    request_id: str = ""


class Done(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An answer of which only success matters."""

    request_id: str = ""


class TagEntry(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A tag in an answer."""

    tag_key: str
    tag_value: str = ""


class Tags(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of tags."""

    tag: tuple[TagEntry, ...] = ()


class PrivateIp(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One IPv4 address of an ENI."""

    private_ip_address: str
    primary: bool = False


class PrivateIpSets(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of IPv4 addresses."""

    private_ip_set: tuple[PrivateIp, ...] = ()


class Ipv6(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One IPv6 address of an ENI."""

    ipv6_address: str


class Ipv6Sets(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of IPv6 addresses."""

    ipv6_set: tuple[Ipv6, ...] = ()


class Ipv4Prefix(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One /28 of an ENI."""

    ipv4_prefix: str


class Ipv4PrefixSets(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of IPv4 prefixes."""

    ipv4_prefix_set: tuple[Ipv4Prefix, ...] = ()


class Ipv6Prefix(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One /80 of an ENI."""

    ipv6_prefix: str


class Ipv6PrefixSets(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of IPv6 prefixes."""

    ipv6_prefix_set: tuple[Ipv6Prefix, ...] = ()


class SecurityGroupIds(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of security group ids."""

    security_group_id: tuple[str, ...] = ()


class Attachment(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """Where an ENI is attached. All empty where it is not."""

    instance_id: str = ""
    trunk_network_interface_id: str = ""
    device_index: int | None = None


class NetworkInterface(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An ENI, in the answers of Create- and DescribeNetworkInterface(s)."""

    network_interface_id: str
    mac_address: str
    private_ip_address: str
    type: str = "Secondary"
    status: str = "Available"
    vpc_id: str = ""
    v_switch_id: str = ""
    zone_id: str = ""
    private_ip_sets: PrivateIpSets = PrivateIpSets()
    ipv6_sets: Ipv6Sets = Ipv6Sets()
    ipv4_prefix_sets: Ipv4PrefixSets = Ipv4PrefixSets()
    ipv6_prefix_sets: Ipv6PrefixSets = Ipv6PrefixSets()
    security_group_ids: SecurityGroupIds = SecurityGroupIds()
    instance_id: str = ""
    attachment: Attachment = Attachment()
    network_interface_traffic_mode: str = "Standard"
    resource_group_id: str = ""
    description: str = ""
    creation_time: str = ""
    delete_on_release: bool | None = None
    tags: Tags = Tags()


class NetworkInterfaceSets(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of ENIs."""

    network_interface_set: tuple[NetworkInterface, ...] = ()


class NetworkInterfacesPage(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One page of DescribeNetworkInterfaces; an empty NextToken ends the list."""

    network_interface_sets: NetworkInterfaceSets = NetworkInterfaceSets()
    next_token: str = ""


def parse_eni(said: NetworkInterface) -> ENI:
    """Return the ENI that the cloud described.

    Raises TransientError for a type or status that the API did not have when this was written:
    to guess what may be done with such an ENI is worse than to wait.
    """
    attachment = said.attachment
    instance = attachment.instance_id or said.instance_id
    return ENI(
        id=ENIId(said.network_interface_id),
        mac=MacAddress(said.mac_address.lower()),
        type=_known(ENIType, said.type, said),
        status=_known(ENIStatus, said.status, said),
        vpc_id=VpcId(said.vpc_id),
        vswitch_id=VSwitchId(said.v_switch_id),
        zone_id=ZoneId(said.zone_id),
        primary_ipv4=IPv4Address(said.private_ip_address),
        ipv4=_ipv4_of(said),
        ipv6=tuple(IPv6Address(ip.ipv6_address) for ip in said.ipv6_sets.ipv6_set),
        ipv4_prefixes=tuple(
            IPv4Network(one.ipv4_prefix) for one in said.ipv4_prefix_sets.ipv4_prefix_set
        ),
        ipv6_prefixes=tuple(
            IPv6Network(one.ipv6_prefix) for one in said.ipv6_prefix_sets.ipv6_prefix_set
        ),
        security_group_ids=tuple(map(SecurityGroupId, said.security_group_ids.security_group_id)),
        instance_id=InstanceId(instance) if instance else None,
        trunk_eni_id=ENIId(attachment.trunk_network_interface_id) or None,
        device_index=attachment.device_index,
        traffic_mode=said.network_interface_traffic_mode or "Standard",
        resource_group_id=said.resource_group_id,
        description=said.description,
        creation_time=said.creation_time,
        delete_on_release=said.delete_on_release,
        tags=tuple((tag.tag_key, tag.tag_value) for tag in said.tags.tag),
    )


def _known(choices: type[Choice], value: str, said: NetworkInterface) -> Choice:
    try:
        return choices(value)
    except ValueError as error:
        name = choices.__name__
        text = f"{said.network_interface_id}: the cloud says {name} {value!r}, which is unknown"
        raise TransientError(text) from error


def _ipv4_of(said: NetworkInterface) -> tuple[IPv4Address, ...]:
    listed = tuple(IPv4Address(ip.private_ip_address) for ip in said.private_ip_sets.private_ip_set)
    return listed or (IPv4Address(said.private_ip_address),)


class PrivateIpAddresses(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of newly assigned IPv4 addresses."""

    private_ip_address: tuple[str, ...] = ()


class Ipv4Prefixes(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of newly assigned IPv4 prefixes."""

    ipv4_prefixes: tuple[str, ...] = ()


class AssignedPrivateIpAddressesSet(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The inner answer of AssignPrivateIpAddresses."""

    private_ip_set: PrivateIpAddresses = PrivateIpAddresses()
    ipv4_prefix_set: Ipv4Prefixes = Ipv4Prefixes()


class AssignedIPv4(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of AssignPrivateIpAddresses."""

    assigned_private_ip_addresses_set: AssignedPrivateIpAddressesSet


class Ipv6Addresses(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of newly assigned IPv6 addresses."""

    ipv6_address: tuple[str, ...] = ()


class Ipv6Prefixes(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of newly assigned IPv6 prefixes."""

    ipv6_prefix: tuple[str, ...] = ()


class AssignedIPv6(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of AssignIpv6Addresses."""

    ipv6_sets: Ipv6Addresses = Ipv6Addresses()
    ipv6_prefix_sets: Ipv6Prefixes = Ipv6Prefixes()


class VSwitchEntry(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A vSwitch in an answer."""

    v_switch_id: str
    vpc_id: str
    zone_id: str
    cidr_block: str
    ipv6_cidr_block: str = ""
    available_ip_address_count: int = 0


class VSwitchesSet(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of vSwitches."""

    v_switch: tuple[VSwitchEntry, ...] = ()


class VSwitchesPage(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeVSwitches."""

    v_switches: VSwitchesSet = VSwitchesSet()


class SecurityGroupEntry(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A security group in an answer."""

    security_group_id: str


class SecurityGroupsSet(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of security groups."""

    security_group: tuple[SecurityGroupEntry, ...] = ()


class SecurityGroupsPage(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeSecurityGroups."""

    security_groups: SecurityGroupsSet = SecurityGroupsSet()


def parse_vswitch(said: VSwitchEntry) -> VSwitch:
    """Return the vSwitch that the cloud described."""
    return VSwitch(
        id=VSwitchId(said.v_switch_id),
        vpc_id=VpcId(said.vpc_id),
        zone_id=ZoneId(said.zone_id),
        cidr=IPv4Network(said.cidr_block),
        ipv6_cidr=IPv6Network(said.ipv6_cidr_block) if said.ipv6_cidr_block else None,
        available_ip_count=said.available_ip_address_count,
    )


class NetworkCardInfo(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A physical card of an instance type that has several."""

    network_card_index: int = 0


class NetworkCards(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of network cards."""

    network_card_info: tuple[NetworkCardInfo, ...] = ()


class InstanceTypeEntry(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An instance type in an answer. A limit that the cloud does not state counts as 0."""

    instance_type_id: str
    eni_quantity: int = 0
    eni_private_ip_address_quantity: int = 0
    eni_ipv6_address_quantity: int = 0
    eni_trunk_supported: bool = False
    eni_total_quantity: int = 0
    eri_quantity: int = 0
    instance_bandwidth_rx: int = 0
    instance_bandwidth_tx: int = 0
    network_cards: NetworkCards = NetworkCards()


class InstanceTypesSet(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of instance types."""

    instance_type: tuple[InstanceTypeEntry, ...] = ()


class InstanceTypesPage(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """One page of DescribeInstanceTypes; an empty NextToken ends the list."""

    instance_types: InstanceTypesSet = InstanceTypesSet()
    next_token: str = ""


def parse_instance_limits(said: InstanceTypeEntry) -> InstanceLimits:
    """Return the limits that the cloud described."""
    return InstanceLimits(
        instance_type=said.instance_type_id,
        eni_quantity=said.eni_quantity,
        eni_private_ip_address_quantity=said.eni_private_ip_address_quantity,
        eni_ipv6_address_quantity=said.eni_ipv6_address_quantity,
        eni_trunk_supported=said.eni_trunk_supported,
        eni_total_quantity=said.eni_total_quantity,
        eri_quantity=said.eri_quantity,
        bandwidth_rx_kbits=said.instance_bandwidth_rx,
        bandwidth_tx_kbits=said.instance_bandwidth_tx,
        network_cards=tuple(one.network_card_index for one in said.network_cards.network_card_info),
    )
