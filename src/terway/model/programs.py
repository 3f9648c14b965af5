"""Where the eBPF data path's programs are, and what they are told: kernel objects like others.

They are planned, applied, read back and mended like the objects of `model.network`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from terway.model.address import IPNetwork, IPPair
from terway.model.endpoint import Endpoint, EndpointNumber
from terway.model.traffic import TrafficObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPrograms(TrafficObject):
    """An endpoint of this node, whose link on the node is `link`.

    The link is the endpoint's own, and both its hooks have programs; only an ipvlan pod's is the
    host child that all pods of its ENI share, which has none.
    """

    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerPrograms(TrafficObject):
    """Programs at both hooks of a pod's own device, `link`, inside the pod, behind a stamp.

    `leg` is the second leg of a pod with an ENI of its own, by which the node is reached; empty
    where there is none.
    """

    number: EndpointNumber
    leg: str = ""


class Edge(Enum):
    """What leads to a node from the VPC."""

    ENI = "eni"  # one that pods share
    UPLINK = "uplink"  # the node's own


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePrograms(TrafficObject):
    """The programs at a device by which packets come from the VPC."""

    edge: Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKnowledge(TrafficObject):
    """What the programs know of the node itself; `link` is its uplink.

    `addresses` are those of its default routes, which go by `gateways`. `host_stack` are prefixes
    that the node's own stack gets.
    """

    addresses: IPPair
    gateways: IPPair = field(default_factory=IPPair)
    mtu_bytes: int
    host_stack: tuple[IPNetwork, ...] = ()
