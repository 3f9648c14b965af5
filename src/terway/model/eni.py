"""Elastic network interfaces and vSwitches, as the cloud describes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)


class ENIType(Enum):
    """The kind of an ENI, spelt as DescribeNetworkInterfaces spells it."""

    PRIMARY = "Primary"
    SECONDARY = "Secondary"
    TRUNK = "Trunk"
    MEMBER = "Member"


class ENIStatus(Enum):
    """The state of an ENI, spelt as DescribeNetworkInterfaces spells it.

    Available ──Attach──► Attaching ──► InUse ──Detach──► Detaching ──► Available
    Available ──Delete──► Deleting ──► (gone)
    """

    AVAILABLE = "Available"
    ATTACHING = "Attaching"
    IN_USE = "InUse"
    DETACHING = "Detaching"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class ENI:
    """One ENI. `ipv4` includes the primary address; addresses keep the cloud's order."""

    id: ENIId
    mac: MacAddress
    type: ENIType
    status: ENIStatus
    vpc_id: VpcId
    vswitch_id: VSwitchId
    zone_id: ZoneId
    primary_ipv4: IPv4Address
    ipv4: tuple[IPv4Address, ...]
    ipv6: tuple[IPv6Address, ...] = ()
    ipv4_prefixes: tuple[
        IPv4Network, ...
    ] = ()  # delegated whole; their addresses are not in `ipv4`
    ipv6_prefixes: tuple[IPv6Network, ...] = ()
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    instance_id: InstanceId | None = None
    trunk_eni_id: ENIId | None = None
    device_index: int | None = None  # the VLAN id of a member
    traffic_mode: str = "Standard"  # or "HighPerformance" (ERDMA)
    resource_group_id: str = ""
    description: str = ""
    creation_time: str = ""  # ISO 8601, as the cloud wrote it
    delete_on_release: bool | None = None  # whether it ends with its instance; None: not said
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def vlan_id(self) -> int | None:
        """The tag of a member's frames on its trunk; None for who is no member."""
        return self.device_index if self.trunk_eni_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitch:
    """One vSwitch: a range of the VPC in one zone."""

    id: VSwitchId
    vpc_id: VpcId
    zone_id: ZoneId
    cidr: IPv4Network
    ipv6_cidr: IPv6Network | None = None
    available_ip_count: int = 0  # IPv4 only; as fresh as the answer it came from


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLimits:
    """What an instance type allows, named as DescribeInstanceTypes names it (snake case)."""

    instance_type: str
    eni_quantity: int  # the primary ENI included
    eni_private_ip_address_quantity: int  # IPv4 per ENI, its primary address included
    eni_ipv6_address_quantity: int
    eni_trunk_supported: bool = False
    eni_total_quantity: int = 0  # primary, secondary and member ENIs together
    eri_quantity: int = 0
    bandwidth_rx_kbits: int = 0  # of the whole instance; 0: not said
    bandwidth_tx_kbits: int = 0
    network_cards: tuple[int, ...] = ()  # their indices; none where there is but one card
