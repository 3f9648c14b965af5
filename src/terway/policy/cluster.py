"""What is in a cluster, as far as policy can see it: namespaces, pods, nodes, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from terway.model.address import IPAddress
from terway.model.ids import NodeName
from terway.model.selector import Labels


class Protocol(Enum):
    """What policies tell apart. OTHER is every protocol without ports in the API: ICMP, GRE, …"""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PodKey:
    """The name of a pod."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPort:
    """A port that a container, or a restartable init container, declares with a name."""

    name: str
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod. Who uses the host's network is no pod to policy: it is its node.

    `is_finished` (phase Succeeded or Failed) no longer owns its addresses; a pod that is
    terminating does. Where two pods that are not finished claim an address, the one with the later
    `created_at` (RFC 3339; then the greater key) has it.
    """

    key: PodKey
    labels: Labels = field(default_factory=dict)
    addresses: tuple[IPAddress, ...] = ()
    node: NodeName | None = None  # None is a node of its own
    ports: tuple[NamedPort, ...] = ()
    is_host_network: bool = False
    is_finished: bool = False
    created_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace; its labels include `kubernetes.io/metadata.name`, whether given or not."""

    name: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node; `addresses` are the IP addresses of its status."""

    name: NodeName
    labels: Labels = field(default_factory=dict)
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The state that policies are judged against. A pod's namespace may be missing: no labels."""

    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    pods: Mapping[PodKey, Pod] = field(default_factory=dict)
    nodes: Mapping[NodeName, Node] = field(default_factory=dict)
