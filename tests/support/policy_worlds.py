"""Small clusters with policies, and who may want to talk to whom in them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from terway.policy.changes import ClusterChange, SetNamespace, SetNode, SetPod, SetPolicy
from terway.policy.cluster import Cluster, Protocol
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, End, Flow, NodeEnd, PodEnd
from terway.policy.policies import Policy
from tests.support.small_clusters import (
    NODE_ADDRESSES,
    NODE_ADDRESSES_6,
    OUTSIDE,
    POD_ADDRESSES,
    POD_ADDRESSES_6,
    PORTS,
    clusters,
)
from tests.support.small_policies import policy_sets


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A cluster and its policies."""

    cluster: Cluster
    policies: tuple[Policy, ...]

    @property
    def changes(self) -> list[ClusterChange]:
        """Return what makes it out of nothing."""
        return [
            *(SetNamespace(namespace=one) for one in self.cluster.namespaces.values()),
            *(SetNode(node=one) for one in self.cluster.nodes.values()),
            *(SetPod(pod=one) for one in self.cluster.pods.values()),
            *(SetPolicy(policy=one) for one in self.policies),
        ]

    def allows(self, flow: Flow) -> bool:
        """Return the truth. Raises UsageError where it cannot be asked."""
        return evaluate(self.cluster, self.policies, flow).is_allowed


@st.composite
def worlds(draw, *, max_pods: int = 7, max_policies: int = 8) -> World:
    """Return a cluster and policies."""
    return World(
        cluster=draw(clusters(min_pods=4, max_pods=max_pods)),
        policies=draw(policy_sets(least=4, most=max_policies)),
    )


def ends(world: World) -> st.SearchStrategy[End]:
    """Return ends in a world: its pods and nodes, their addresses, and who is outside."""
    fixed = [AddressEnd(address=a) for a in (*POD_ADDRESSES, *POD_ADDRESSES_6, *OUTSIDE)]
    fixed += [AddressEnd(address=a) for a in (*NODE_ADDRESSES, *NODE_ADDRESSES_6)]
    there: list[End] = [PodEnd(pod=key) for key in world.cluster.pods]
    there += [NodeEnd(node=name) for name in world.cluster.nodes]
    return st.one_of(st.sampled_from(there or fixed), st.sampled_from(fixed))


@st.composite
def flows(draw, world: World) -> Flow:
    """Return a connection that somebody may want; not every end has every family."""
    protocol = draw(st.sampled_from(list(Protocol)))
    return Flow(
        source=draw(ends(world)),
        destination=draw(ends(world)),
        protocol=protocol,
        port=0 if protocol is Protocol.OTHER else draw(st.sampled_from((*PORTS, 1, 65535))),
        via_service=draw(st.booleans()),
    )
