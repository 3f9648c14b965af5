"""Who are the ends of a connection, and what does the node of each enforce?

What all answers by way of a packet filter begin with, whichever filter it is.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import Family, IPPair, family_of
from terway.model.ids import NodeName
from terway.policy.changes import (
    Attach,
    ClusterChange,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.compiled import Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.ends import Party, addresses_of, parties_of
from terway.policy.flow import End, Flow
from terway.policy.policies import Policy


class Ends:
    """The ends of connections in a cluster, each looked for once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._party = cache(self._find)

    def of(self, flow: Flow) -> tuple[Party, Party]:
        """Return source and destination.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
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

    def _find(self, end: End, family: Family | None) -> Party | None:
        if family not in {family_of(one) for one in addresses_of(self._cluster, end)}:
            return None
        return parties_of(self._cluster, Flow(source=end, destination=end, family=family))[0]


class Nodes:
    """What each node of a cluster has to enforce; pods that have none share one without a name."""

    def __init__(self, cluster: Cluster, policies: Collection[Policy]) -> None:
        self._cluster = cluster
        self._changes = _changes(cluster, policies)

    def pods(self, node: NodeName | None) -> dict[PodKey, Pod]:
        """Return the pods of a node."""
        return {key: pod for key, pod in self._cluster.pods.items() if pod.node == node}

    def compiled(self, node: NodeName | None) -> Compiled:
        """Return what a node enforces for its pods."""
        compiler = Compiler(node)
        own = (
            pod
            for pod in self.pods(node).values()
            if not pod.is_host_network and not pod.is_finished
        )
        attached = (Attach(key=pod.key, addresses=_pair(pod)) for pod in own)
        compiler.apply([*self._changes, *attached])
        return compiler.compiled()


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
