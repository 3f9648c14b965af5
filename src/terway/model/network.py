"""Kernel objects: what a planner wishes for, what the kernel shows, and the operations between.

The words are those of iproute2. They live in the model because the room that decides (`datapath`)
and the room that talks to the kernel (`linux`) are strangers to each other and both need them.

A link is named, not numbered: plans are made before a link has its ifindex. A network namespace
is the path under which it can be opened; `NODE` is the one the process itself lives in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface
from typing import NewType

from terway.model.address import Family, IPAddress, IPNetwork, IPPair
from terway.model.ids import MacAddress
from terway.model.traffic import TrafficObject

Netns = NewType("Netns", str)
NODE = Netns("")

MAIN_TABLE = 254
LOCAL_TABLE = 255


class Scope(Enum):
    """How far an address or an IPv4 route reaches (rtnetlink(7), RT_SCOPE_*)."""

    GLOBAL = 0
    SITE = 200
    LINK = 253
    HOST = 254
    NOWHERE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """What can be wished of a link. None, an empty alias and no group mean: as it is."""

    name: str
    mac: MacAddress | None = None
    mtu_bytes: int | None = None
    is_up: bool = True
    alias: str = ""  # free text that `ip link` shows; we write the owner there
    has_arp: bool = True  # True: as it is
    group: int = 0  # 0: as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel shows it."""

    ifindex: int
    name: str
    mac: MacAddress | None
    mtu_bytes: int
    is_up: bool
    kind: str = ""  # "veth", "ipvlan", …; empty for lo and hardware
    alias: str = ""
    group: int = 0
    peer_ifindex: int | None = None  # of a veth: the other end, in its own namespace
    peer_nsid: int | None = None  # the number that this namespace has for the other end's
    parent_ifindex: int | None = None  # of an ipvlan: its parent, in the namespace it is in
    has_carrier: bool = True
    qdisc: str = ""  # the kind at its root: "noqueue", "tbf", …
    has_arp: bool = True

    @property
    def settings(self) -> LinkSettings:
        """Return the part that can be wished for."""
        return LinkSettings(
            name=self.name,
            mac=self.mac,
            mtu_bytes=self.mtu_bytes,
            is_up=self.is_up,
            alias=self.alias,
            has_arp=self.has_arp,
            group=self.group,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAddress:
    """An address on a link. IPv6 addresses are usable at once: no duplicate detection."""

    link: str
    address: IPv4Interface | IPv6Interface
    scope: Scope = Scope.GLOBAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A unicast route. `is_onlink` lets the gateway be outside every subnet of the link.

    IPv6 routes have no scope (always GLOBAL). `metric` 0 is the family's default.
    """

    destination: IPNetwork
    link: str
    table: int = MAIN_TABLE
    gateway: IPAddress | None = None
    is_onlink: bool = False
    scope: Scope = Scope.GLOBAL
    source: IPAddress | None = None
    metric: int = 0
    mtu_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """A policy routing rule (`ip rule`): packets that match look into `table`."""

    family: Family
    priority: int
    table: int
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    iif: str = ""
    oif: str = ""
    fwmark: int = 0
    fwmask: int = 0xFFFFFFFF
    is_prohibit: bool = False  # refused with an ICMP answer instead; `table` is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A permanent neighbour: the kernel neither asks for it nor forgets it."""

    link: str
    address: IPAddress
    mac: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """A file under /proc/sys and its value: ``net/ipv4/conf/eth1/rp_filter``, ``0``."""

    path: str
    value: str


NetObject = LinkSettings | LinkAddress | Route | RoutingRule | Neighbour | Sysctl | TrafficObject


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVeth:
    """Create a veth in the node's namespace with its peer in `netns`, both by their final names.

    Moving a link between namespaces waits for an RCU grace period (11 to 15 ms); creating the
    peer in place does not (0.5 ms).

    With `netns_id`, only where the path leads to that very namespace: a path may be another's.
    """

    host: LinkSettings
    peer: LinkSettings
    netns: Netns
    netns_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIpvlan:
    """Create an ipvlan child (L2) of the node's link `parent`, by its final name in `netns`.

    It has the parent's MAC. `host` is the node's own child of the same parent, which leads to all
    the others; it is made with the ENI: there `host` and `peer` are one.

    With `netns_id`, only where the path leads to that very namespace: a path may be another's.
    """

    parent: str
    host: LinkSettings
    peer: LinkSettings
    netns: Netns
    netns_id: str = ""


Birth = CreateVeth | CreateIpvlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLink:
    """Delete a link.

    With `now` false a link of the node's namespace is only marked, and gone within some tens of ms
    together with others: a single delete costs 10 to 35 ms, one of fifty costs 0.5 ms.
    """

    name: str
    now: bool = False
    netns: Netns = NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Create `object` in `netns`, or change what has its place. Repeating it changes nothing."""

    netns: Netns
    object: NetObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove `object` from `netns`. That it is not there is success."""

    netns: Netns
    object: NetObject


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameLink:
    """Give a link another name. Before Linux 6.2 it must be down."""

    netns: Netns
    name: str
    new_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLink:
    """Move a link to another namespace, where its name must be free. Costs 11 to 15 ms.

    It arrives down and without addresses, routes, settings and filters; MAC, MTU and alias stay.
    """

    name: str
    source: Netns
    target: Netns


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVlan:
    """Create a VLAN device (802.1Q) over the node's link `parent`, by its final name in `netns`.

    It is down, and goes with its parent.
    """

    parent: str
    link: LinkSettings
    vlan_id: int
    netns: Netns


Operation = Birth | CreateVlan | DeleteLink | RenameLink | MoveLink | Put | Remove


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentState:
    """The kernel's state of one attachment, desired or actual.

    `birth` and `addresses` say where to look, and how the links are made; the others what should
    be, or is, there. `alias` is the host end's; an ipvlan child has it itself. `pod` is None when
    the pod's namespace is gone. `is_paired` says that the two names of `birth` are the ends of one
    veth, or that the pod's link is the ENI's child. `netns_id` tells the pod's namespace from every
    other that there was or will be until the machine starts anew.
    """

    birth: Birth
    addresses: IPPair
    alias: str
    is_paired: bool
    node: tuple[NetObject, ...]
    pod: tuple[NetObject, ...] | None
    pod_ifindex: int | None = None  # of the pod's end, as it was read; None: not there
    netns_id: str = ""  # as it was read; empty: there is no namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """The kernel's state of the node's own namespace, as far as anybody asked for it."""

    links: tuple[Link, ...]
    objects: tuple[NetObject, ...]
