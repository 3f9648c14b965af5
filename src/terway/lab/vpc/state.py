"""What the emulated cloud wants of the fabric: one value, replaced whole.

The cloud makes a `VpcState` after every change; the fabric diffs it against what it has in the
kernel and applies the difference. Neither knows more of the other than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import VSwitch
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An attached ENI: a veth between the fabric and the namespace of its instance.

    The link in the instance is named `ifname` (``eth0`` for the primary ENI) and has the ENI's
    MAC; the fabric gives it no address, as a hypervisor would not.

    A member has no link, and an empty `ifname`: it shares that of the port `trunk_id`, on which
    its frames carry the 802.1Q tag `vlan_id`.
    """

    eni_id: ENIId
    mac: MacAddress
    vpc_id: VpcId
    vswitch_id: VSwitchId
    instance_id: InstanceId
    ifname: str
    ipv4: tuple[IPv4Address, ...]  # the primary address first
    ipv6: tuple[IPv6Address, ...] = ()
    prefixes: tuple[IPNetwork, ...] = ()  # /28 and /80: all of their addresses are the ENI's
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    mtu_bytes: int = 1500
    source_check: bool = True  # a packet's source must be an address of this ENI
    loss: float = 0.0  # a fault: the part of all packets that is lost, in each direction
    trunk_id: ENIId | None = None
    vlan_id: int = 0  # 1 to 4094; 0 for who has a link


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEntry:
    """A custom route of a VPC: packets for `destination` go to the port of `next_hop`."""

    vpc_id: VpcId
    destination: IPNetwork
    next_hop: ENIId


class Direction(Enum):
    """Seen from the ENI: ingress is traffic to it."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroupRule:
    """One rule. Lower `priority` wins; at equal priority, drop wins over accept.

    `protocol` is an IP protocol number, or None for all. `ports` is an inclusive range of
    destination ports, None for all (and for protocols without ports). `peer` is a range of
    addresses, or a group: the addresses of all ENIs in it.
    """

    direction: Direction
    accept: bool
    priority: int  # 1 to 100
    peer: IPNetwork | SecurityGroupId
    protocol: int | None = None
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group. Without a matching rule, ingress is dropped and egress accepted.

    In a group of type ``normal`` with `inner_access`, members reach each other whatever the
    rules say (InnerAccessPolicy Accept); an enterprise group drops egress by default too.
    """

    id: SecurityGroupId
    vpc_id: VpcId
    rules: tuple[SecurityGroupRule, ...] = ()
    inner_access: bool = True
    is_enterprise: bool = False


class Scheduler(Enum):
    """Which backend gets a new connection."""

    HASH = "hash"  # of all four values, over a plain list
    TUPLE = "tuple"  # of all four values; who comes or goes moves only its own share
    SOURCE = "source"  # of the client's address, likewise
    TURNS = "turns"  # one after the other, as often as weights say


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A backend of its own port and weight; new connections are for those with any, if healthy."""

    address: IPAddress
    port: int
    weight: int = 1  # 0 to 100
    is_healthy: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose connections are taken: those from `ranges` (`is_allowed`), or all but those."""

    is_allowed: bool
    ranges: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port of a load balancer: what comes there goes to a healthy backend.

    `protocol` is TCP or UDP, by its number. Backends are addresses of ENIs, of the family of the
    load balancer: `backends` all at `backend_port` and healthy, or `servers` each as it says.
    A TCP connection goes on to a listed backend, healthy or not; to one that is not listed too,
    unless the listener `cuts`. What comes to one that `is_proxied` goes to the provider's services,
    who listen at the load balancer's address, and to no backend.
    """

    protocol: int
    port: int
    backend_port: int = 0
    backends: tuple[IPAddress, ...] = ()
    servers: tuple[Server, ...] = ()
    scheduler: Scheduler = Scheduler.HASH
    persistence_s: int = 0  # how long a client's address keeps its backend
    cuts: bool = False
    access: Access | None = None
    is_proxied: bool = False

    @property
    def all_servers(self) -> tuple[Server, ...]:
        """Return the backends, however they are given."""
        plain = (Server(address=one, port=self.backend_port) for one in self.backends)
        return (*plain, *self.servers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancer:
    """An address of a load balancer, the provider's own: it is no ENI's and in no vSwitch.

    It forwards past the backends' security groups and keeps the client's address, as a classic
    load balancer does at layer 4. `members` are all that it may forward to, healthy or not: their
    answers to what it forwarded come from its address.
    """

    vpc_id: VpcId
    address: IPAddress
    listeners: tuple[Listener, ...] = ()
    members: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """From where load balancers ask for their backends' health: some of the `services`."""

    vpc_id: VpcId
    address: IPv4Address
    address_v6: IPv6Address | None = None

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """Return its addresses, IPv4 first."""
        return (self.address,) if self.address_v6 is None else (self.address, self.address_v6)


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcState:
    """Everything the fabric carries. An empty state is an empty fabric.

    `services` are addresses that the provider itself answers (metadata, OpenAPI, the Kubernetes
    API's load balancer): the fabric delivers packets for them, from any port and past all
    security groups, to the namespace of services, and their answers back.
    """

    vswitches: tuple[VSwitch, ...] = ()
    ports: tuple[Port, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    services: tuple[IPAddress, ...] = ()
    balancers: tuple[Balancer, ...] = ()
    prober: Prober | None = None
