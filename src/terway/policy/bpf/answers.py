"""May this connection be made, by the policy maps that the nodes of its ends would have?

Each node's policies are compiled and written, and both ends are asked as the program asks: what
would be enforced is what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from typing import Protocol

from terway.model.ids import NodeName
from terway.model.policy_maps import Content, Steps
from terway.policy.answering import Ends, Nodes
from terway.policy.bpf.judge import Judge, Question
from terway.policy.bpf.writer import Writer
from terway.policy.cluster import Cluster
from terway.policy.ends import Party
from terway.policy.flow import Flow
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
        self._ends = Ends(cluster)
        self._nodes = Nodes(cluster, policies)
        self._enforce = enforce
        self._numbers = {key: place for place, key in enumerate(sorted(cluster.pods), 1)}
        self._node = cache(self._written)

    def allowed(self, flow: Flow) -> bool:
        """Return whether the connection may be made.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
        source, destination = self._ends.of(flow)
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

    def _written(self, node: NodeName | None) -> Asked:
        """Return who answers for a node."""
        endpoints = {key: (self._numbers[key],) for key in self._nodes.pods(node)}
        steps = Writer().adopt(self._nodes.compiled(node), endpoints, Content())
        return self._enforce(_in_force(steps))


def _in_force(steps: Steps) -> Content:
    """Return what maps that were empty hold after steps."""
    return replace(steps.make, generation=steps.switch or steps.make.generation)
