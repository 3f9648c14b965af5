"""On which node of the lab is each pod and node of a case?

A node of the case is a node of the lab. A pod that names none has, for the rule that a pod and its
node always reach each other, a node of its own: so it is never where the case's own node processes
(probes from or to a node, pods on the host's network) are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.flow import AddressEnd, Flow, NodeEnd

LARGE_TYPE = "ecs.ebmgn9gc.64xlarge"  # 37 pods with an ENI each, in both families
TRUNK_TYPE = "ecs.g7.xlarge"  # 16 pods that are members of a trunk, in both families
_SPREAD = 2  # nodes for pods that name none: on one node, and on two


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where all are; by the names of the case to the names of the lab."""

    nodes: Mapping[NodeName, str]
    pods: Mapping[PodKey, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many nodes a lab must have for a case."""

    nodes: int


def place(
    cluster: Cluster, flows: Iterable[Flow], lab_nodes: Sequence[str], *, per_node: int
) -> Placement | Need:
    """Return where everything goes, or how many nodes it needs; `per_node` pods fit on one.

    The same pods come to the same nodes, whatever else the case says: so they can be used again.
    """
    pods = [pod for _, pod in sorted(cluster.pods.items())]
    flows = tuple(flows)
    named = sorted(_named(cluster, flows))
    alone = [pod for pod in pods if pod.is_host_network and pod.node is None]
    free = [pod for pod in pods if not pod.is_host_network and pod.node is None]
    busy = [name for name in named if name in _with_processes(cluster, flows)]
    quiet = [name for name in named if name not in busy]
    own = sum(not pod.is_host_network for pod in pods)
    shared = max(len(quiet), _SPREAD if free else 0, -(-own // per_node))
    wanted = len(busy) + len(alone) + shared
    if wanted > len(lab_nodes):
        return Need(nodes=wanted)
    # The busy ones last: pods without a node find the same nodes in every case.
    taken = list(lab_nodes[len(lab_nodes) - len(busy) - len(alone) :])
    open_ = lab_nodes[: len(lab_nodes) - len(taken)]
    nodes = dict(zip(quiet, open_, strict=False)) | dict(zip(busy, taken, strict=False))
    hosts = dict(zip((pod.key for pod in alone), taken[len(busy) :], strict=True))
    spread = {pod.key: open_[number % len(open_)] for number, pod in enumerate(free)}
    bound = {pod.key: nodes[pod.node] for pod in pods if pod.node is not None}
    return Placement(nodes=nodes, pods={**hosts, **spread, **bound})


def check_room(placement: Placement, cluster: Cluster, max_pods: Mapping[str, int]) -> None:
    """Raise UsageError where a node of the case has more pods than its node of the lab takes."""
    own = (key for key, pod in cluster.pods.items() if not pod.is_host_network)
    for node, count in Counter(placement.pods[key] for key in own).items():
        if count > max_pods[node]:
            raise UsageError(
                f"the case has {count} pods on one node, and {node} takes {max_pods[node]}; bring "
                f"up a lab of a larger type, such as --exclusive-type {LARGE_TYPE}"
            )


def _named(cluster: Cluster, flows: Iterable[Flow]) -> set[NodeName]:
    return {
        *cluster.nodes,
        *(pod.node for pod in cluster.pods.values() if pod.node is not None),
        *_ends(cluster, flows),
    }


def _with_processes(cluster: Cluster, flows: Iterable[Flow]) -> set[NodeName]:
    hosts: Iterable[Pod] = (pod for pod in cluster.pods.values() if pod.is_host_network)
    return {*_ends(cluster, flows), *(pod.node for pod in hosts if pod.node is not None)}


def _ends(cluster: Cluster, flows: Iterable[Flow]) -> set[NodeName]:
    """Return the nodes that flows begin or end at, by name or by address."""
    ends = [end for flow in flows for end in (flow.source, flow.destination)]
    addressed = {end.address for end in ends if isinstance(end, AddressEnd)}
    return {
        *(end.node for end in ends if isinstance(end, NodeEnd)),
        *(node.name for node in cluster.nodes.values() if addressed & {*node.addresses}),
    }
