"""What is a load balancer of the cloud? Instances, listeners, groups of backends, and their health.

One vocabulary for both products. They differ in where the settings of forwarding are: a CLB
listener has them, and an NLB server group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from terway.model.address import IPAddress, IPNetwork
from terway.model.http_listener import HttpForwarding
from terway.model.ids import ENIId, InstanceId, SecurityGroupId, VpcId, VSwitchId, ZoneId

LoadBalancerId = NewType("LoadBalancerId", str)
ServerGroupId = NewType("ServerGroupId", str)
ListenerId = NewType("ListenerId", str)
AccessListId = NewType("AccessListId", str)
JobId = NewType("JobId", str)

Tags = tuple[tuple[str, str], ...]


class BalancerProduct(Enum):
    """Whose API an instance is of."""

    CLB = "clb"
    NLB = "nlb"


class ListenerProtocol(Enum):
    """What a listener forwards."""

    TCP = "TCP"
    UDP = "UDP"
    HTTP = "HTTP"  # CLB alone, as the next one
    HTTPS = "HTTPS"

    @property
    def is_http(self) -> bool:
        """Return whether requests are forwarded, not connections."""
        return self in (ListenerProtocol.HTTP, ListenerProtocol.HTTPS)

    @property
    def transport(self) -> ListenerProtocol:
        """Return whose port numbers it is at: one listener has a number of TCP."""
        return ListenerProtocol.TCP if self.is_http else self


Place = tuple[ListenerProtocol, int]
"""Where a listener listens: TCP or UDP, and a port."""


class CheckKind(Enum):
    """How a backend is asked whether it serves."""

    TCP = "tcp"
    HTTP = "http"
    UDP = "udp"


class HealthStatus(Enum):
    """What the load balancer says of a backend."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # not asked yet, or not asked at all


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How a load balancer finds out who serves. `port` 0 is the backend's own."""

    is_on: bool = True
    kind: CheckKind = CheckKind.TCP
    port: int = 0
    timeout_s: int = 5  # 1 to 300
    interval_s: int = 2  # 1 to 50
    healthy_after: int = 3  # in a row; 2 to 10
    unhealthy_after: int = 3
    domain: str = ""  # of HTTP, as the next ones
    uri: str = "/"
    method: str = "head"
    http_codes: tuple[str, ...] = ("http_2xx",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """How connections are given to backends, and when they are cut.

    `drain_s` is how long connections may stay with a backend that is removed or not healthy; None:
    as long as they live. `persistence_s` keeps a client's address at its backend (CLB over TCP).
    """

    scheduler: str = "wrr"  # wrr, rr, wlc, sch (hash of the source) or tch (of four values)
    check: HealthCheck = field(default_factory=HealthCheck)
    drain_s: int | None = None
    persistence_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerInstance:
    """A load balancer. `hostname` is NLB's; it resolves to `addresses`."""

    id: LoadBalancerId
    product: BalancerProduct
    name: str
    addresses: tuple[IPAddress, ...]
    hostname: str = ""
    is_internet: bool
    is_ready: bool = True
    vpc_id: VpcId | None = None  # None: a CLB instance of the internet
    zones: tuple[tuple[ZoneId, VSwitchId], ...] = ()
    spec: str = ""
    charge_type: str = ""
    is_protected_from_deletion: bool = False
    is_protected_from_console: bool = False
    resource_group_id: str = ""
    security_group_ids: tuple[SecurityGroupId, ...] = ()  # NLB's
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A backend of a group. Either an address of an ENI, or an instance, or (NLB) an address alone.

    Unique in its group by all but `weight` and `description`. `address` is None only where an
    instance is meant, whose primary address the cloud takes.
    """

    address: IPAddress | None
    port: int
    eni_id: ENIId | None = None
    instance_id: InstanceId | None = None
    weight: int = 100  # 0 to 100; 0: no new connections
    description: str = ""

    @property
    def identity(self) -> tuple[object, ...]:
        """Return what names it in its group."""
        return self.address, self.port, self.eni_id, self.instance_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerGroup:
    """A group of backends. Protocol and forwarding are NLB's; `owner` is the instance of CLB's."""

    id: ServerGroupId
    name: str
    backends: tuple[Backend, ...] = ()
    owner: LoadBalancerId | None = None
    protocol: str = ""  # "TCP", "UDP" or "TCP_UDP"
    forwarding: Forwarding | None = None
    is_ready: bool = True
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """A list that a listener has: whose packets it takes (`is_allowed`), or does not."""

    acl_id: AccessListId
    is_allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerWish:
    """What a listener is to be. Forwarding and access are CLB's; NLB has them in the group."""

    protocol: ListenerProtocol
    port: int
    group_id: ServerGroupId
    description: str = ""
    forwarding: Forwarding | None = None
    access: AccessRule | None = None
    http: HttpForwarding | None = None  # of HTTP and HTTPS, always

    @property
    def place(self) -> Place:
        """Return where it listens: nobody else can there."""
        return self.protocol.transport, self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listener as it is. CLB's have no id of their own: instance, protocol and port are it."""

    id: ListenerId
    balancer_id: LoadBalancerId
    is_running: bool
    wish: ListenerWish


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendHealth:
    """What a listener's load balancer says of one backend."""

    server_id: str
    address: IPAddress | None
    port: int
    status: HealthStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessList:
    """Source ranges, each with a comment."""

    id: AccessListId
    name: str
    version: int  # 4 or 6
    entries: tuple[tuple[IPNetwork, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """Whose packets a security group lets in, or keeps out. The lowest priority decides."""

    protocol: str  # "TCP", "UDP", or "ALL"
    port_range: str  # "80/80"; "-1/-1": all
    source: IPNetwork
    is_allowed: bool
    priority: int  # 1 to 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGroup:
    """A security group of ours, for load balancers, with what it says of incoming packets."""

    id: SecurityGroupId
    rules: tuple[SourceRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWish:
    """What a new instance is to be. CLB takes one vSwitch at most, NLB one a zone."""

    name: str
    is_internet: bool
    vpc_id: VpcId | None = None
    zones: tuple[tuple[ZoneId, VSwitchId], ...] = ()
    ip_version: str = "ipv4"  # "ipv4", CLB: "ipv6", NLB: "DualStack"
    address: str = ""  # a wanted address, of an intranet CLB
    spec: str = ""
    charge_type: str = "PayByCLCU"
    internet_charge_type: str = "paybytraffic"
    bandwidth: int | None = None
    is_protected_from_deletion: bool = True
    is_protected_from_console: bool = True
    resource_group_id: str = ""
    tags: Tags = ()
