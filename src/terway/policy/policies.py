"""What do policies say? NetworkPolicy and ClusterNetworkPolicy as values; nothing of it is text.

Absent and empty are told apart where the API does: `None` is absent. Source: API references of
networking.k8s.io/v1 and policy.networking.k8s.io/v1alpha2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import IPNetwork
from terway.model.selector import Selector
from terway.policy.cluster import Protocol


class Kind(Enum):
    """The kinds of policy. The older two cluster kinds are read as CLUSTER ones."""

    NETWORK = "NetworkPolicy"
    CLUSTER = "ClusterNetworkPolicy"
    ADMIN = "AdminNetworkPolicy"
    BASELINE_ADMIN = "BaselineAdminNetworkPolicy"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyKey:
    """The name of a policy; `namespace` is empty for those of the cluster."""

    kind: Kind
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.namespace}/{self.name}".replace(" /", " ")


class Direction(Enum):
    """Seen from the pod that the policy selects."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class Tier(Enum):
    """Before NetworkPolicy, or where none isolates."""

    ADMIN = "Admin"
    BASELINE = "Baseline"


class Action(Enum):
    """What a rule of a cluster policy does; PASS leaves the tier."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPeer:
    """Pods by labels: of one namespace (a name), or of those whose labels match (a selector)."""

    namespaces: str | Selector
    pods: Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPeer:
    """Addresses of one family, whoever has them. Host bits are masked; `excepts` lie inside."""

    block: IPNetwork
    excepts: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePeer:
    """Addresses of nodes by labels, and so their host-network pods; never the pods on them."""

    nodes: Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPeer:
    """A peer that we cannot read or enforce (domain names, a newer API's). Fails closed.

    Accept and a NetworkPolicy's rule match nobody by it, Deny and Pass deny everybody.
    """

    field: str


Peer = PodPeer | BlockPeer | NodePeer | UnknownPeer


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Ports `first` to `last`, both included, of the destination. 0 to 65535 is every port."""

    protocol: Protocol
    first: int = 0
    last: int = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class PortName:
    """A name among the destination pod's ports; `protocol` None is whichever the name has."""

    name: str
    protocol: Protocol | None = None


Port = PortRange | PortName


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches when a peer and a port do. None: anyone; every port of every protocol.

    The API's empty lists have become None, too. `index` counts from 0 in its list.
    """

    index: int
    peers: tuple[Peer, ...] | None
    ports: tuple[Port, ...] | None
    name: str = ""
    action: Action = Action.ACCEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """A NetworkPolicy. A direction that is None is not its business; () isolates, allows nothing.

    With a `fault` the policy could not be read: it isolates what it selects in the directions that
    it has, and allows nothing (closed), and the fault says which field, value and remedy. It is the
    first; `more_faults` are the others.
    """

    key: PolicyKey
    pods: Selector
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    generation: int = 0
    uid: str = ""
    fault: str = ""
    more_faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPolicy:
    """A cluster policy: the lowest `priority` first in its tier; equal ones by name.

    With a `fault` it denies everybody in the directions in which it has rules; the fault says why.
    A smaller one, of a single rule, is an UnknownPeer there and is told in `cautions`.
    """

    key: PolicyKey
    tier: Tier
    priority: int
    subject: PodPeer
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    generation: int = 0
    uid: str = ""
    fault: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[int, str, str]:
        """Return its place in its tier: ascending is the order of judgement."""
        return self.priority, self.key.name, self.key.kind.value


Policy = NetworkPolicy | ClusterPolicy
