"""Who has an address, and what do the policies say: from what this node has heard of the cluster.

The pods of a cluster are many and a flow has two of them: who has an address is looked up in an
index that is made anew when an address is not found there, and a flow is judged by the policies
that select its ends alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from terway.model.address import IPAddress, IPPair
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.evaluate import evaluate
from terway.policy.flow import Verdict
from terway.policy.policies import Policy, PolicyKey
from terway.policy.records.ends_cluster import ends_cluster
from terway.policy.records.recorded import RecordedEnd, RecordedFlow
from terway.policy.records.workload import workload_of

_INDEX_PERIOD_S = 1.0
_INDEX_SHARE = 100  # making it takes at most a hundredth of the time


class Heard(Protocol):
    """What this node has heard: `agent.policy.view.View`."""

    @property
    def attached(self) -> Mapping[PodKey, IPPair]:
        """Return the addresses of the pods that are here."""

    def cluster(self) -> Cluster:
        """Return the state of the cluster: a live view."""

    def selecting(self, key: PodKey) -> tuple[Policy, ...]:
        """Return the policies that select a pod."""


class ClusterKnowledge:
    """The knowledge of one node. `now` is monotonic seconds."""

    def __init__(self, heard: Heard, *, now: Callable[[], float]) -> None:
        self._heard = heard
        self._now = now
        self._pods: dict[IPAddress, PodKey] = {}
        self._nodes: dict[IPAddress, NodeName] = {}
        self._again_at = 0.0

    def end_of(self, address: IPAddress) -> RecordedEnd:
        """Return who has an address now."""
        pod = self._pod_at(address)
        cluster = self._heard.cluster()
        if pod is None:
            name = self._nodes.get(address)
            node = cluster.nodes.get(name) if name else None
            return RecordedEnd(address=address, node=name, labels=node.labels if node else {})
        namespace = cluster.namespaces.get(pod.key.namespace)
        return RecordedEnd(
            address=address,
            pod=pod.key,
            workload=workload_of(pod.key, pod.labels),
            node=pod.node,
            labels=pod.labels,
            namespace_labels=namespace.labels if namespace else {},
            ports=pod.ports,
        )

    def judge(self, flow: RecordedFlow) -> Verdict:
        """Return what both sides say now. Raises UsageError for an end that is gone."""
        ends = (flow.source, flow.destination)
        cluster = self._heard.cluster()
        policies: dict[PolicyKey, Policy] = {
            one.key: one for end in ends if end.pod for one in self._heard.selecting(end.pod)
        }
        return evaluate(ends_cluster(ends, cluster), tuple(policies.values()), flow.flow())

    def _pod_at(self, address: IPAddress) -> Pod | None:
        pods = self._heard.cluster().pods
        for key, addresses in self._heard.attached.items():
            if address in addresses and (here := pods.get(key)) is not None:
                return self._as_attached(here)
        found = self._indexed(pods, address)
        if found is None and self._now() >= self._again_at:
            self._index(self._heard.cluster())
            found = self._indexed(pods, address)
        return found

    def _indexed(self, pods: Mapping[PodKey, Pod], address: IPAddress) -> Pod | None:
        key = self._pods.get(address)
        pod = pods.get(key) if key is not None else None
        return pod if pod is not None and _owns(pod) and address in pod.addresses else None

    def _as_attached(self, pod: Pod) -> Pod:
        """Return the pod with the addresses that it has here, told to the API or not."""
        addresses = self._heard.attached.get(pod.key)
        return pod if addresses is None else replace(pod, addresses=tuple(addresses))

    def _index(self, cluster: Cluster) -> None:
        began_at = self._now()
        self._pods = _owners(cluster.pods)
        self._nodes = dict(_node_addresses(cluster))
        took_s = self._now() - began_at
        self._again_at = began_at + max(_INDEX_PERIOD_S, took_s * _INDEX_SHARE)


def _owns(pod: Pod) -> bool:
    return not pod.is_finished and not pod.is_host_network


def _owners(pods: Mapping[PodKey, Pod]) -> dict[IPAddress, PodKey]:
    """Return whose each address is: of those that claim it, the latest."""
    owners: dict[IPAddress, Pod] = {}
    for pod in filter(_owns, pods.values()):
        for address in pod.addresses:
            known = owners.get(address)
            if known is None or (known.created_at, known.key) < (pod.created_at, pod.key):
                owners[address] = pod
    return {address: pod.key for address, pod in owners.items()}


def _node_addresses(cluster: Cluster) -> Iterator[tuple[IPAddress, NodeName]]:
    """Yield the addresses of nodes, those by which their host-network pods are known as well."""
    for pod in cluster.pods.values():
        if pod.is_host_network and not pod.is_finished and pod.node is not None:
            yield from ((address, pod.node) for address in pod.addresses)
    for node in cluster.nodes.values():
        yield from ((address, node.name) for address in node.addresses)
