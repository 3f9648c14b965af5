"""What an interface of a pod is to be, beside its addresses: by the node's mode and the pod's wish.

It is decided when the interface is made and is journalled with the attachment, so that a restart
mends what was asked for then. Limits alone may change while the pod runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from terway.model.address import IPNetwork, IPPair
from terway.model.ids import MacAddress, SecurityGroupId, VSwitchId


class Mode(Enum):
    """How a pod's interface and an ENI come together."""

    VETH = "veth"  # the pod has one of the addresses of a shared ENI, by policy routing
    DATAPATHV2 = "datapathv2"  # the same, and programs of eBPF that go past the node's stack
    IPVLAN = "ipvlan"  # the pod is a child of a shared ENI, and has one of its addresses
    EXCLUSIVE = "exclusive"  # the ENI itself is in the pod


class NetworkPriority(Enum):
    """Whose packets leave a crowded ENI first: `k8s.aliyun.com/network-priority`."""

    GUARANTEED = "guaranteed"
    BURSTABLE = "burstable"
    BEST_EFFORT = "best-effort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits seen from the pod, in bytes per second. None is no limit."""

    ingress: int | None = None  # to the pod
    egress: int | None = None  # from the pod


UNLIMITED = Bandwidth()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which ENIs an interface may be on. Nothing said: any of the node's ordinary ones."""

    vswitch_ids: tuple[VSwitchId, ...] = ()
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    is_erdma: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnENI:
    """That an interface has an ENI of its own, by a PodENI: the control plane's, not the pool's.

    `gateways` are those of its vSwitch. A member of the node's trunk has no device: its frames
    travel by the trunk's, tagged with `vlan_id` (1 to 4094).
    """

    gateways: IPPair
    trunk_mac: MacAddress | None = None
    vlan_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMacs:
    """The MACs of a veth that another Terway made: `host` is what its pod knows its gateway by."""

    host: MacAddress
    pod: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSpec:
    """One interface as it was asked for.

    `parent` is the CNI_IFNAME of the ADD that made this interface along with its own, and empty
    for that one itself: DEL, CHECK and GC of the parent are about its children, too.

    One that another Terway made and that was taken over keeps the MACs of its veth in `macs`. One
    that `is_left_alone` has its addresses and nothing else: nobody looks at it until it is undone.
    """

    mode: Mode = Mode.VETH
    parent: str = ""
    has_default_route: bool = True
    is_one_of_several: bool = False  # of its pod's interfaces: what belongs to it keeps to it
    routes: tuple[IPNetwork, ...] = ()  # beside the default, by the vSwitch's gateway
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    priority: NetworkPriority | None = None
    has_metadata: bool = True  # whether the pod may reach the instance's metadata service
    placement: Placement = field(default_factory=Placement)
    own_eni: OwnENI | None = None
    macs: LinkMacs | None = None  # None: those that its key gives it
    is_left_alone: bool = False
