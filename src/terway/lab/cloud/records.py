"""What does the cloud keep of each resource? Frozen records; a change is a new record.

Names end in Record where the model has the same thing as the agent sees it. `serial` is the order
of creation, which pages follow. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.vpc.state import Direction
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENIStatus, ENIType
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    RouteTableId,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcRecord:
    """A VPC with its one (system) route table."""

    id: VpcId
    serial: int
    name: str
    description: str
    cidr: IPv4Network
    ipv6_cidr: IPv6Network | None
    route_table_id: RouteTableId
    router_id: str
    created_at: float
    resource_group_id: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchRecord:
    """A vSwitch."""

    id: VSwitchId
    serial: int
    vpc_id: VpcId
    zone_id: ZoneId
    name: str
    description: str
    cidr: IPv4Network
    ipv6_cidr: IPv6Network | None
    created_at: float
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """A custom route entry."""

    id: str
    serial: int
    route_table_id: RouteTableId
    destination: IPNetwork
    next_hop_type: str  # "Instance" or "NetworkInterface"
    next_hop_id: str
    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """A rule of a security group; `peer` is a range or the id of a group."""

    id: str
    direction: Direction
    accept: bool
    priority: int
    protocol: str  # "TCP", "UDP", "ICMP", "ICMPv6", "GRE" or "ALL"
    port_range: str  # "22/22"; "-1/-1" is all
    peer: IPNetwork | SecurityGroupId
    description: str
    created_at: float

    def matches(self, other: RuleRecord) -> bool:
        """Return whether both rules say the same, whatever their ids and descriptions."""
        return self._meaning() == other._meaning()

    def _meaning(self) -> tuple[object, ...]:
        what = (self.direction, self.accept, self.priority)
        return (*what, self.protocol, self.port_range, self.peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """A security group."""

    id: SecurityGroupId
    serial: int
    vpc_id: VpcId
    name: str
    description: str
    is_enterprise: bool
    inner_access: bool
    created_at: float
    rules: tuple[RuleRecord, ...] = ()
    resource_group_id: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIRecord:
    """An ENI. `slot` is its device order on the instance while it is attached: 0 is eth0.

    A member has no device: it is reached through its trunk, in frames tagged with `vlan_id`.
    """

    id: ENIId
    serial: int
    mac: MacAddress
    type: ENIType
    status: ENIStatus
    vpc_id: VpcId
    vswitch_id: VSwitchId
    zone_id: ZoneId
    ipv4: tuple[IPv4Address, ...]  # the primary address first
    ipv6: tuple[IPv6Address, ...]
    security_group_ids: tuple[SecurityGroupId, ...]
    name: str
    description: str
    delete_on_release: bool
    source_dest_check: bool
    created_at: float
    instance_id: InstanceId | None = None
    slot: int | None = None
    trunk_id: ENIId | None = None
    vlan_id: int | None = None
    # Addresses that the cloud has promised but not yet programmed.
    unready: frozenset[IPAddress] = frozenset()
    resource_group_id: str = ""
    tags: Tags = ()
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    ipv6_prefixes: tuple[IPv6Network, ...] = ()
    is_erdma: bool = False

    @property
    def is_plugged(self) -> bool:
        """Whether its packets are carried."""
        return self.status in (ENIStatus.IN_USE, ENIStatus.DETACHING)


class InstanceStatus(Enum):
    """The state of an instance, spelt as DescribeInstances spells it."""

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An ECS instance. Its ENIs are the ENI records that name it."""

    id: InstanceId
    serial: int
    instance_type: str
    status: InstanceStatus
    name: str
    host_name: str
    description: str
    image_id: str
    vpc_id: VpcId
    vswitch_id: VSwitchId
    zone_id: ZoneId
    primary_eni_id: ENIId
    created_at: float
    role: str = ""  # the RAM role whose keys the metadata service hands out
    hardened: bool = False  # HttpTokens=required: metadata only with a token
    has_jumbo_frames: bool = False
    deletion_protection: bool = False
    resource_group_id: str = ""
    tags: Tags = ()
