"""Which nodes have an address? Those whose status says so, or that run a pod on their network."""

from __future__ import annotations

from collections.abc import Iterable

from terway.model.ids import NodeName
from terway.policy.cluster import Node, Pod, PodKey
from terway.policy.compiling.nets import number_of


class NodeAddresses:
    """The addresses of nodes, and who says so."""

    __slots__ = ("_node_of", "_nodes", "_said")

    def __init__(self) -> None:
        self._nodes: dict[int, dict[NodeName, int]] = {}
        self._said: dict[NodeName, dict[NodeName | PodKey, frozenset[int]]] = {}
        self._node_of: dict[PodKey, NodeName] = {}

    def at(self, number: int) -> Iterable[NodeName]:
        """Return the nodes that have an address."""
        return self._nodes.get(number, ())

    def of(self, name: NodeName) -> frozenset[int]:
        """Return the addresses of a node."""
        return frozenset().union(*self._said.get(name, {}).values())

    def put_node(self, name: NodeName, node: Node | None) -> frozenset[int]:
        """Take what a node's status says; return the addresses that this touches."""
        return self._put(name, name, () if node is None else map(number_of, node.addresses))

    def put_pod(self, key: PodKey, pod: Pod | None) -> frozenset[int]:
        """Take what a pod says of its node; return the addresses that this touches."""
        before = self._node_of.pop(key, None)
        touched = frozenset[int]() if before is None else self._put(before, key, ())
        if pod is None or pod.node is None or not pod.is_host_network or pod.is_finished:
            return touched
        self._node_of[key] = pod.node
        return touched | self._put(pod.node, key, map(number_of, pod.addresses))

    def _put(
        self, node: NodeName, who: NodeName | PodKey, numbers: Iterable[int]
    ) -> frozenset[int]:
        said = self._said.setdefault(node, {})
        before, now = said.pop(who, frozenset()), frozenset(numbers)
        for number in before:
            self._count(number, node, -1)
        for number in now:
            self._count(number, node, +1)
        if now:
            said[who] = now
        if not said:
            del self._said[node]
        return before | now

    def _count(self, number: int, node: NodeName, more: int) -> None:
        nodes = self._nodes.setdefault(number, {})
        nodes[node] = nodes.get(node, 0) + more
        if not nodes[node]:
            del nodes[node]
        if not nodes:
            del self._nodes[number]
