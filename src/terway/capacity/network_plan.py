"""What is a cluster's network planned to be? The vocabulary of planning: ranges, zones, options.

Source: product documentation, "Plan the network of a cluster" and "Work with Terway".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network

from terway.model.address import IPNetwork, IPStack
from terway.model.eni import InstanceLimits
from terway.model.ids import ZoneId

# The first and the last three addresses of a vSwitch are the cloud's own.
RESERVED_ADDRESSES = 4


class Role(Enum):
    """Whose addresses come from a vSwitch."""

    NODES = "nodes"
    PODS = "pods"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVSwitch:
    """A vSwitch that is there or is to be made. `used` are addresses that are taken already."""

    name: str
    zone_id: ZoneId
    cidr: IPv4Network
    role: Role
    used: int = 0

    @property
    def usable(self) -> int:
        """Return how many addresses can be given: 252 of a /24."""
        return max(0, self.cidr.num_addresses - RESERVED_ADDRESSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the cluster is to be able to do."""

    stack: IPStack = IPStack.IPV4
    is_exclusive: bool = False
    virtual_type: str = "veth"
    has_network_policy: bool = False
    has_trunk: bool = False
    has_prefixes: bool = False
    kernel: tuple[int, int] | None = None  # of the nodes, major and minor; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How many nodes and pods, now and later. Nodes are spread evenly over the zones."""

    nodes: int
    most_nodes: int = 0  # 0: as many as now
    pods_per_node: int = 0  # 0: what the instance type holds
    nodes_per_month: float = 0.0
    free_per_node: int = 5  # warm addresses that a node holds beside its pods'

    @property
    def peak_nodes(self) -> int:
        """Return the most nodes there will be."""
        return max(self.nodes, self.most_nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """The whole of it. Ranges that other networks use already are `taken`, by name."""

    vpc_cidr: IPv4Network
    vswitches: tuple[PlannedVSwitch, ...]
    service_cidrs: tuple[IPNetwork, ...]
    demand: Demand
    options: Options = field(default_factory=Options)
    limits: InstanceLimits | None = None  # of the nodes' instance type
    taken: tuple[tuple[str, IPv4Network], ...] = ()

    def of_role(self, role: Role, zone_id: ZoneId | None = None) -> tuple[PlannedVSwitch, ...]:
        """Return the vSwitches for nodes or for pods, of one zone or of all."""
        fits = (role, Role.BOTH)
        return tuple(
            one for one in self.vswitches if one.role in fits and zone_id in (None, one.zone_id)
        )

    @property
    def zones(self) -> tuple[ZoneId, ...]:
        """Return the zones in which nodes are."""
        return tuple(dict.fromkeys(one.zone_id for one in self.of_role(Role.NODES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What stands against a plan. `is_final`: it cannot be; else it may become a regret."""

    field: str
    found: str
    reason: str  # and what to do about it
    is_final: bool = True

    def __str__(self) -> str:
        return f"{self.field} is {self.found}: {self.reason}"
