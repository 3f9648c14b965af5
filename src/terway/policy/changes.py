"""What can happen to a cluster, as policy sees it: the events that a compiler follows."""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import IPPair
from terway.model.ids import NodeName
from terway.policy.cluster import Namespace, Node, Pod, PodKey
from terway.policy.policies import Policy, PolicyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPod:
    """A pod came, or is otherwise now."""

    pod: Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPod:
    """A pod is gone from the API."""

    key: PodKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNamespace:
    """A namespace came, or has other labels."""

    namespace: Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNamespace:
    """A namespace is gone; its pods may follow later."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode:
    """A node came, or has other labels or addresses."""

    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNode:
    """A node is gone."""

    name: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPolicy:
    """A policy came, or says something else."""

    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPolicy:
    """A policy is gone."""

    key: PolicyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """A pod has an interface here, with these addresses, whatever the API says of them as yet.

    It gets sides, and its addresses are its own even where another pod's status still has them. As
    long as the API tells of no such pod, it may talk with its own node only.
    """

    key: PodKey
    addresses: IPPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """A pod has no interface here any more."""

    key: PodKey


ClusterChange = (
    SetPod
    | DropPod
    | SetNamespace
    | DropNamespace
    | SetNode
    | DropNode
    | SetPolicy
    | DropPolicy
    | Attach
    | Detach
)
