"""What may happen to a small cluster and its policies, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

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
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey
from terway.policy.policies import Policy, PolicyKey
from tests.support.policy_worlds import World, worlds
from tests.support.small_clusters import (
    NAMESPACES,
    NODES,
    POD_ADDRESSES,
    POD_ADDRESSES_6,
    addresses,
    namespaces,
    nodes,
    pair_of,
    pod_keys,
    pods,
)
from tests.support.small_policies import policies


@dataclass(slots=True, kw_only=True)
class State:
    """What a history has come to."""

    namespaces: dict[str, Namespace] = field(default_factory=dict)
    pods: dict[PodKey, Pod] = field(default_factory=dict)
    nodes: dict[NodeName, Node] = field(default_factory=dict)
    policies: dict[PolicyKey, Policy] = field(default_factory=dict)
    attached: dict[PodKey, IPPair] = field(default_factory=dict)

    def apply(self, change: ClusterChange) -> None:
        """Take a change in."""
        match change:
            case SetPod(pod=pod):
                self.pods[pod.key] = pod
            case DropPod(key=key):
                self.pods.pop(key, None)
            case SetNamespace(namespace=namespace):
                self.namespaces[namespace.name] = namespace
            case DropNamespace(name=name):
                self.namespaces.pop(name, None)
            case SetNode(node=node):
                self.nodes[node.name] = node
            case DropNode(name=name):
                self.nodes.pop(name, None)
            case SetPolicy(policy=policy):
                self.policies[policy.key] = policy
            case DropPolicy(key=policy_key):
                self.policies.pop(policy_key, None)
            case Attach(key=key, addresses=addresses):
                self.attached[key] = addresses
            case Detach(key=key):
                self.attached.pop(key, None)

    def changes(self) -> list[ClusterChange]:
        """Return what makes it out of nothing."""
        cluster = Cluster(namespaces=self.namespaces, pods=self.pods, nodes=self.nodes)
        world = World(cluster=cluster, policies=tuple(self.policies.values()))
        attached = (Attach(key=key, addresses=pair) for key, pair in self.attached.items())
        return [*world.changes, *attached]


pairs = addresses(POD_ADDRESSES, POD_ADDRESSES_6).map(pair_of)

changes = st.one_of(
    st.builds(SetPod, pod=pods()),
    st.builds(SetPod, pod=pods()),
    st.builds(DropPod, key=pod_keys),
    *[st.builds(SetNamespace, namespace=namespaces())] * 3,
    st.builds(DropNamespace, name=st.sampled_from(NAMESPACES)),
    st.builds(SetNode, node=nodes()),
    st.builds(DropNode, name=st.sampled_from(NODES)),
    *[st.builds(SetPolicy, policy=policies)] * 4,
    st.builds(DropPolicy, key=policies.map(lambda one: one.key)),
    st.builds(Attach, key=pod_keys, addresses=pairs),
    st.builds(Attach, key=pod_keys, addresses=pairs),
    st.builds(Detach, key=pod_keys),
)


@st.composite
def histories(draw, *, max_batches: int = 6) -> list[list[ClusterChange]]:
    """Return batches of changes: first a world, then whatever happens to it."""
    world = draw(worlds())
    held = [pod for pod in world.cluster.pods.values() if not pod.is_host_network]
    first = world.changes + [
        Attach(key=pod.key, addresses=pair_of(pod.addresses))
        for pod in held
        if draw(st.sampled_from([True, True, True, False]))
    ]
    batch = st.lists(changes, min_size=1, max_size=4)
    return [first, *draw(st.lists(batch, min_size=2, max_size=max_batches))]
