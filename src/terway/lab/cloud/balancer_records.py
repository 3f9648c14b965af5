"""What does the cloud keep of load balancers? Frozen records, of both products: CLB and NLB.

Source: OpenAPI SLB 2014-05-15 ("CLB") and NLB 2022-04-30; defaults and ranges are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.records import Tags
from terway.model.address import IPAddress, IPNetwork
from terway.model.ids import SecurityGroupId, VpcId, VSwitchId, ZoneId


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckRecord:
    """How backends are asked whether they serve. `port` 0 is the backend's own."""

    is_on: bool = True
    kind: str = "tcp"  # "tcp", "http" or "udp"
    port: int = 0
    timeout_s: int = 5
    interval_s: int = 2
    healthy_after: int = 3  # successes in a row
    unhealthy_after: int = 3  # failures in a row
    domain: str = ""
    uri: str = "/"
    method: str = "head"
    http_codes: tuple[str, ...] = ("http_2xx",)
    request: str = ""  # of UDP
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """A backend: an instance (its primary ENI), or an address of an ENI. Unique by all but weight.

    `kind` is spelt as the product spells it: "ecs" and "eni", or "Ecs", "Eni" and "Ip".
    """

    server_id: str
    kind: str
    ip: str = ""
    port: int
    weight: int = 100  # 0: no new connections
    description: str = ""

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """Return what names the backend in its group."""
        return self.server_id, self.kind.lower(), self.ip, self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionRecord:
    """Deletion protection, and protection from changes by the console."""

    is_deletion_refused: bool = False
    deletion_reason: str = ""
    modification_status: str = "NonProtection"  # or "ConsoleProtection"
    modification_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClbRecord:
    """A CLB instance. An internet one is in no VPC."""

    id: str
    serial: int
    name: str
    address: IPAddress
    is_internet: bool
    vpc_id: VpcId | None
    vswitch_id: VSwitchId | None
    spec: str
    charge_type: str  # InstanceChargeType
    internet_charge_type: str
    bandwidth: int
    master_zone_id: str
    slave_zone_id: str
    created_at: float
    protection: ProtectionRecord = ProtectionRecord()
    resource_group_id: str = ""
    tags: Tags = ()
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VServerGroupRecord:
    """A group of backends of one CLB instance."""

    id: str
    serial: int
    balancer_id: str
    name: str
    created_at: float
    servers: tuple[ServerRecord, ...] = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClbListenerRecord:
    """A listener of a CLB instance, known by instance, protocol and port."""

    serial: int
    balancer_id: str
    protocol: str  # "tcp", "udp", "http" or "https"
    port: int
    group_id: str
    http: HttpListenerRecord | None = None  # of the last two
    check: HealthCheckRecord = HealthCheckRecord()
    backend_port: int = 0
    is_running: bool = False
    scheduler: str = "wrr"
    persistence_s: int = 0
    established_s: int = 900
    is_drained: bool = False
    drain_s: int = 0
    bandwidth: int = -1
    acl_id: str = ""
    acl_type: str = ""  # "white" or "black"
    is_acl_on: bool = False
    description: str = ""
    tags: Tags = ()

    @property
    def id(self) -> str:
        """Return its name among all listeners."""
        return f"{self.balancer_id}/{self.protocol}/{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AclRecord:
    """A list of source ranges, with a comment each."""

    id: str
    serial: int
    name: str
    ip_version: str  # "ipv4" or "ipv6"
    created_at: float
    entries: tuple[tuple[IPNetwork, str], ...] = ()
    resource_group_id: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NlbZoneRecord:
    """An NLB instance in one zone: its addresses there."""

    vswitch_id: VSwitchId
    zone_id: ZoneId
    private_ipv4: IPv4Address
    public_ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    eni_id: str = ""
    allocation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NlbRecord:
    """An NLB instance. Until `ready_at` it is Provisioning."""

    id: str
    serial: int
    name: str
    vpc_id: VpcId
    is_internet: bool
    is_dual_stack: bool
    zones: tuple[NlbZoneRecord, ...]
    dns_name: str
    created_at: float
    ready_at: float
    protection: ProtectionRecord = ProtectionRecord()
    is_cross_zone: bool = True
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    resource_group_id: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerGroupRecord:
    """A group of backends for NLB listeners. Until `ready_at` it takes no other change."""

    id: str
    serial: int
    name: str
    vpc_id: VpcId
    kind: str  # "Instance" or "Ip"
    protocol: str  # "TCP", "UDP" or "TCP_UDP"
    scheduler: str
    is_dual_stack: bool
    created_at: float
    ready_at: float
    check: HealthCheckRecord = HealthCheckRecord()
    is_drained: bool = False
    drain_s: int = 0
    servers: tuple[ServerRecord, ...] = ()
    resource_group_id: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NlbListenerRecord:
    """A listener of an NLB instance."""

    id: str
    serial: int
    balancer_id: str
    protocol: str  # "TCP" or "UDP"
    port: int
    group_id: str
    ready_at: float
    is_running: bool = True
    idle_s: int = 900
    description: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """An asynchronous task of NLB: Processing until `done_at`, then Succeeded."""

    id: str
    done_at: float


HealthKey = tuple[str, IPAddress, int]
"""Listener, address of the backend, its port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSeen:
    """What the health checks say of a backend; nothing is known of one that is not listed."""

    healthy: frozenset[HealthKey] = field(default_factory=frozenset)
    unhealthy: frozenset[HealthKey] = field(default_factory=frozenset)

    def of(self, key: HealthKey) -> bool | None:
        """Return whether a backend is healthy, None where that is not known."""
        if key in self.healthy:
            return True
        return False if key in self.unhealthy else None
