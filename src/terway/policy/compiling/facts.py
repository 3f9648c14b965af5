"""What is the cluster like now, and what did a batch of changes touch?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from terway.model.address import IPPair
from terway.model.ids import NodeName
from terway.policy.changes import (
    Attach,
    ClusterChange,
    Detach,
    DropNamespace,
    DropNode,
    DropPod,
    DropPolicy,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Node, Pod, PodKey
from terway.policy.compiling.index_pods import Namespaces, PodIndex
from terway.policy.policies import Policy, PolicyKey


@dataclass(slots=True, kw_only=True)
class Touched:
    """What a batch touched; the values are what was there before."""

    pods: dict[PodKey, None] = field(default_factory=dict)
    nodes: dict[NodeName, Node | None] = field(default_factory=dict)
    policies: dict[PolicyKey, Policy | None] = field(default_factory=dict)


class Facts:
    """Namespaces, pods, nodes, policies and interfaces, indexed.

    `index` has the pods that policy sees as pods; `local` those of them that the place holds.
    """

    __slots__ = (
        "_everybody",
        "attached",
        "index",
        "local",
        "namespaces",
        "nodes",
        "pods",
        "policies",
    )

    def __init__(self, *, everybody: bool) -> None:
        self._everybody = everybody
        self.namespaces = Namespaces()
        self.pods: dict[PodKey, Pod] = {}
        self.nodes: dict[NodeName, Node] = {}
        self.policies: dict[PolicyKey, Policy] = {}
        self.attached: dict[PodKey, IPPair] = {}
        self.index = PodIndex(self.namespaces)
        self.local = self.index if everybody else PodIndex(self.namespaces)

    def is_local(self, key: PodKey) -> bool:
        """Return whether the place holds this pod, and policy sees it as a pod."""
        pod = self.pods.get(key)
        if pod is None or pod.is_host_network:
            return False
        return self._everybody or key in self.attached

    def is_unknown(self, key: PodKey) -> bool:
        """Return whether what is attached here is no pod that the API has: nobody knows its rules.

        So it is after a restart, if the pod was deleted by force meanwhile and still runs.
        """
        if self._everybody or key not in self.attached:
            return False
        pod = self.pods.get(key)
        return pod is None or pod.is_host_network

    def apply(self, changes: Iterable[ClusterChange]) -> Touched:
        """Take changes in; what is as it was touches nothing."""
        self.namespaces.forget_found()
        touched = Touched()
        for change in changes:
            self._apply(change, touched)
        return touched

    def _apply(self, change: ClusterChange, touched: Touched) -> None:
        match change:
            case SetPod(pod=pod):
                self._put_pod(pod.key, pod, touched)
            case DropPod(key=pod_key):
                self._put_pod(pod_key, None, touched)
            case SetNamespace(namespace=namespace):
                if self.namespaces.put(namespace.name, namespace.labels):
                    self._touch_namespace(namespace.name, touched)
            case DropNamespace(name=name):
                self.namespaces.remove(name)
                self._touch_namespace(name, touched)
            case SetNode(node=node):
                self._put_node(node.name, node, touched)
            case DropNode(name=node_name):
                self._put_node(node_name, None, touched)
            case SetPolicy(policy=policy):
                touched.policies.setdefault(policy.key, self.policies.get(policy.key))
                self.policies[policy.key] = policy
            case DropPolicy(key=key):
                touched.policies.setdefault(key, self.policies.pop(key, None))
            case Attach(key=pod_key, addresses=addresses):
                self._attach(pod_key, addresses, touched)
            case Detach(key=pod_key):
                self._attach(pod_key, None, touched)
            case _:
                assert_never(change)

    def _put_pod(self, key: PodKey, pod: Pod | None, touched: Touched) -> None:
        before = self.pods.get(key)
        if before == pod:
            return
        self._unindex(key)
        if pod is None:
            del self.pods[key]
        else:
            self.pods[key] = pod
        self._index(key)
        touched.pods[key] = None

    def _attach(self, key: PodKey, addresses: IPPair | None, touched: Touched) -> None:
        if self.attached.get(key) == addresses:
            return
        self._unindex(key)
        if addresses is None:
            del self.attached[key]
        else:
            self.attached[key] = addresses
        self._index(key)
        touched.pods[key] = None

    def _index(self, key: PodKey) -> None:
        pod = self.pods.get(key)
        if pod is not None and not pod.is_host_network:
            self.index.add(pod)
            if self.local is not self.index and key in self.attached:
                self.local.add(pod)

    def _unindex(self, key: PodKey) -> None:
        pod = self.pods.get(key)
        if pod is not None and not pod.is_host_network:
            self.index.remove(pod)
            if self.local is not self.index and key in self.attached:
                self.local.remove(pod)

    def _touch_namespace(self, name: str, touched: Touched) -> None:
        touched.pods.update(dict.fromkeys(self.index.of_namespace(name)))

    def _put_node(self, name: NodeName, node: Node | None, touched: Touched) -> None:
        touched.nodes.setdefault(name, self.nodes.get(name))
        if node is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = node
