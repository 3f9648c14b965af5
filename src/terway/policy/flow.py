"""A connection that somebody wants to make, and what is said to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import Family, IPAddress
from terway.model.ids import NodeName
from terway.policy.cluster import PodKey, Protocol
from terway.policy.policies import Direction, PolicyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """A pod; one on the host's network is its node."""

    pod: PodKey


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnd:
    """A process in a node's own network namespace."""

    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressEnd:
    """Whoever has the address now: a pod, a node, or somebody outside."""

    address: IPAddress


End = PodEnd | NodeEnd | AddressEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A new connection. `port` is the destination's, 0 where the protocol has none.

    The ends are those after any translation of a service's address; `via_service` says that there
    was one. `family` chooses among a dual-stack end's addresses; None is the first both have.
    """

    source: End
    destination: End
    protocol: Protocol = Protocol.TCP
    port: int = 0
    family: Family | None = None
    via_service: bool = False


class Because(Enum):
    """What decided on one side of a connection."""

    RULE = "rule"  # a rule of `policy` matched
    ISOLATED = "isolated"  # policies select the pod here, and no rule of them matches
    OWN_NODE = "own-node"  # a pod's own node is always let in and out
    SELF = "self"  # a pod cannot block itself
    DEFAULT = "default"  # nobody says anything: allowed
    FAULT = "fault"  # `policy` could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one side of one pod says. For ISOLATED, `policy` is the first that isolates.

    `isolating` counts the NetworkPolicies that select the pod in this direction, where it mattered.
    """

    direction: Direction
    pod: PodKey
    is_allowed: bool
    because: Because
    policy: PolicyKey | None = None
    rule: int | None = None  # its place in the list of its direction, from 0
    rule_name: str = ""
    isolating: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What both sides say; None is an end that has no side. Allowed if none says no."""

    egress: Judgement | None = None
    ingress: Judgement | None = None

    @property
    def is_allowed(self) -> bool:
        """Return whether the connection may be made."""
        return all(side is None or side.is_allowed for side in (self.egress, self.ingress))
