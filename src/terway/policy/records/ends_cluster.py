"""In which cluster is a recorded connection judged? In one of its two ends alone.

The pods themselves may be gone, and their addresses be others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey
from terway.policy.records.recorded import RecordedEnd


def ends_cluster(ends: Iterable[RecordedEnd], cluster: Cluster) -> Cluster:
    """Return a cluster with `ends` alone: as `cluster` knows them, else as they were recorded."""
    ends = tuple(ends)
    pods = _pods(ends, cluster.pods)
    namespaces = {
        one.pod.namespace: cluster.namespaces.get(one.pod.namespace)
        or Namespace(name=one.pod.namespace, labels=one.namespace_labels)
        for one in ends
        if one.pod is not None
    }
    nodes = dict(_nodes(ends, cluster.nodes))
    return Cluster(namespaces=namespaces, pods=pods, nodes=nodes)


def _pods(ends: Iterable[RecordedEnd], known: Mapping[PodKey, Pod]) -> dict[PodKey, Pod]:
    """Return the pods, with all addresses by which they were recorded."""
    found: dict[PodKey, Pod] = {}
    for one in ends:
        if one.pod is not None:
            before = found[one.pod].addresses if one.pod in found else ()
            pod = Pod(key=one.pod, labels=one.labels, node=one.node, ports=one.ports)
            addresses = tuple(dict.fromkeys((*before, one.address)))
            today = known.get(one.pod, pod)
            found[one.pod] = replace(today, addresses=addresses, is_finished=False)
    return found


def _nodes(
    ends: Iterable[RecordedEnd], known: Mapping[NodeName, Node]
) -> Iterator[tuple[NodeName, Node]]:
    for one in ends:
        if one.pod is None and one.node is not None:
            node = known.get(one.node) or Node(name=one.node, labels=one.labels)
            yield one.node, replace(node, addresses=(one.address,))
