"""May this connection be made, by the policy maps that the nodes of its ends would have?

Each node's policies are compiled and written, and both ends are asked as the program asks: what
would be enforced is what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from terway.model.address import Family, IPPair, family_of
from terway.model.ids import NodeName
from terway.model.policy_maps import Content, Steps
from terway.policy.bpf.judge import Judge, Question
from terway.policy.bpf.writer import Writer
from terway.policy.changes import (
    Attach,
    ClusterChange,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Cluster, Pod
from terway.policy.compiling.compiler import Compiler
from terway.policy.ends import Party, addresses_of, parties_of
from terway.policy.flow import End, Flow
from terway.policy.policies import Policy


class Asked(Protocol):
    """What answers for one node: `judge.Judge`, or a program in the kernel."""

    def allows(self, asked: Question) -> bool:
        """Return whether the end's policies allow the connection."""


def on_paper(content: Content) -> Asked:
    """Return what answers by maps that hold `content`."""
    return Judge(content)


class BpfAnswers:
    """A cluster and its policies as maps; `enforce` makes what they hold something that answers."""

    def __init__(
        self,
        cluster: Cluster,
        policies: Collection[Policy],
        enforce: Callable[[Content], Asked] = on_paper,
    ) -> None:
        self._cluster = cluster
        self._changes = _changes(cluster, policies)
        self._enforce = enforce
        self._numbers = {key: place for place, key in enumerate(sorted(cluster.pods), 1)}
        self._party = cache(self._find_party)
        self._node = cache(self._written)

    def allowed(self, flow: Flow) -> bool:
        """Return whether the connection may be made.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
        source, destination = self._ends(flow)
        is_itself = source.pod is not None and source.pod is destination.pod
        if is_itself and not flow.via_service:
            return True  # it never leaves the pod
        return self._allows(source, destination, flow, is_opener=True) and self._allows(
            destination, source, flow, is_opener=False
        )

    def _allows(self, own: Party, other: Party, flow: Flow, *, is_opener: bool) -> bool:
        """Return whether one end allows it; who is no pod of ours has nothing to say."""
        pod = own.pod
        if pod is None:
            return True
        asked = Question(
            endpoint=self._numbers[pod.key],
            other=other.address,
            protocol=flow.protocol,
            port=flow.port,
            is_opener=is_opener,
            is_own_node=pod.node is not None and pod.node in other.nodes,
            is_itself=other.pod is pod,
        )
        return self._node(pod.node).allows(asked)

    def _ends(self, flow: Flow) -> tuple[Party, Party]:
        family = flow.family or self._family(flow)
        source = self._party(flow.source, family)
        destination = self._party(flow.destination, family)
        if source is None or destination is None:
            return parties_of(self._cluster, flow)  # says what is wrong with them
        return source, destination

    def _family(self, flow: Flow) -> Family | None:
        sources, destinations = (
            [family_of(one) for one in addresses_of(self._cluster, end)]
            for end in (flow.source, flow.destination)
        )
        return next((one for one in sources if one in destinations), None)

    def _find_party(self, end: End, family: Family | None) -> Party | None:
        if family not in {family_of(one) for one in addresses_of(self._cluster, end)}:
            return None
        return parties_of(self._cluster, Flow(source=end, destination=end, family=family))[0]

    def _written(self, node: NodeName | None) -> Asked:
        """Return who answers for a node; pods that have none share one place without a node."""
        pods = {key: pod for key, pod in self._cluster.pods.items() if pod.node == node}
        compiler = Compiler(node)
        own = (pod for pod in pods.values() if not pod.is_host_network and not pod.is_finished)
        attached = (Attach(key=pod.key, addresses=_pair(pod)) for pod in own)
        compiler.apply([*self._changes, *attached])
        endpoints = {key: (self._numbers[key],) for key in pods}
        steps = Writer().adopt(compiler.compiled(), endpoints, Content())
        return self._enforce(_in_force(steps))


def _in_force(steps: Steps) -> Content:
    """Return what maps that were empty hold after steps."""
    return replace(steps.make, generation=steps.switch or steps.make.generation)


def _pair(pod: Pod) -> IPPair:
    return IPPair(
        v4=next((one for one in pod.addresses if isinstance(one, IPv4Address)), None),
        v6=next((one for one in pod.addresses if isinstance(one, IPv6Address)), None),
    )


def _changes(cluster: Cluster, policies: Collection[Policy]) -> list[ClusterChange]:
    return [
        *(SetNamespace(namespace=one) for one in cluster.namespaces.values()),
        *(SetNode(node=one) for one in cluster.nodes.values()),
        *(SetPod(pod=one) for one in cluster.pods.values()),
        *(SetPolicy(policy=one) for one in policies),
    ]
