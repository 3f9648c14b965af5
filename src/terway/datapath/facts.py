"""What a plan has to know of the node."""

from __future__ import annotations

from dataclasses import dataclass, field

from terway.model.address import Family, IPNetwork, IPPair
from terway.model.ids import MacAddress

DEFAULT_MTU_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class ENILink:
    """A secondary ENI as the node has it. `gateways` are those of its vSwitch."""

    name: str
    ifindex: int
    mac: MacAddress
    gateways: IPPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetric:
    """By which interface, marks and table answers go back out where their question came in.

    `waits` says that connections are marked only once something on the node translates addresses:
    to mark them is to track them all, which costs every packet.
    """

    interface: str = "eth0"
    mark: int = 0x10
    mask: int = 0x10
    table: int = 100
    priority: int = 600
    comment: str = "terway-symmetric"
    waits: bool = False

    @property
    def others(self) -> int:
        """Return the bits of a mark that are not ours."""
        return ~self.mask & 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The node itself: its addresses (those its default routes choose) and its way out.

    `service_cidrs` and `host_stack_cidrs` are what pods reach by the node's own network stack.
    """

    addresses: IPPair
    uplink: str
    families: tuple[Family, ...]
    mtu_bytes: int = DEFAULT_MTU_BYTES
    service_cidrs: tuple[IPNetwork, ...] = ()
    host_stack_cidrs: tuple[IPNetwork, ...] = ()
    gateways: IPPair = field(default_factory=IPPair)  # of its default routes
    symmetric: Symmetric | None = None
    has_priorities: bool = False  # pods' packets leave ENIs in three classes
    has_pacing: bool = False  # what pods send is held by departure times, not by queues
    has_shared_limits: bool = True  # links of a pod can share a limit
    has_datapath: bool = False  # programs of eBPF see pods' packets
    has_services: bool = False  # and lead those for services to a backend
    has_children: bool = False  # ENIs have a host child, because pods are children of them
