"""Who is there that policies can tell apart: pods, nodes, and pieces of the space around them.

A holder is one address and who has it. Outside, one holder stands for all addresses that lie in
the same blocks; so a finite list of holders is all there is, for a given cluster and policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from terway.model.address import Family, IPAddress, family_of
from terway.model.ids import NodeName
from terway.model.selector import Labels
from terway.policy.asking.representatives_space import Spans, address_cells, free_number
from terway.policy.cluster import Cluster, Node, Pod, PodKey
from terway.policy.compiling.nets import address_of, number_of
from terway.policy.policies import BlockPeer, NetworkPolicy, Peer, Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holder:
    """An address and who has it: a pod, nodes, or (neither) somebody outside.

    `namespace` are the labels of the pod's namespace. Who uses a host's network is its node; more
    than one may say that an address is theirs, and one of which nothing else is known has no
    `addresses`. `spans` are all the addresses of the family that
    policies cannot tell from this one, and that this holder could have as well.
    """

    address: IPAddress
    pod: Pod | None = None
    namespace: Labels = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    spans: Spans = ()

    @property
    def family(self) -> Family:
        """Return the family of the address."""
        return family_of(self.address)

    @property
    def is_outside(self) -> bool:
        """Return whether neither a pod nor a node has it."""
        return self.pod is None and not self.nodes


def rules_of(policy: Policy) -> Iterator[Rule]:
    """Yield the rules of both directions."""
    yield from policy.ingress or ()
    yield from policy.egress or ()


def peers_of(policies: Iterable[Policy]) -> dict[Peer, None]:
    """Return the peers of all rules, each once, in the order in which they are written."""
    rules = (rule for policy in policies for rule in rules_of(policy))
    return dict.fromkeys(peer for rule in rules for peer in rule.peers or ())


def blocks_of(policies: Iterable[Policy]) -> tuple[BlockPeer, ...]:
    """Return the blocks of all rules, each once."""
    return tuple(peer for peer in peers_of(policies) if isinstance(peer, BlockPeer))


def selects(policy: Policy, pod: Pod, namespace: Labels) -> bool:
    """Return whether the policy is about the pod, whose namespace has these labels."""
    if isinstance(policy, NetworkPolicy):
        return policy.key.namespace == pod.key.namespace and policy.pods.matches(pod.labels)
    subject = policy.subject
    if isinstance(subject.namespaces, str):
        is_there = subject.namespaces == pod.key.namespace
    else:
        is_there = subject.namespaces.matches(namespace)
    return is_there and subject.pods.matches(pod.labels)


def holders_of(
    cluster: Cluster, policies: Iterable[Policy], *, extra: Iterable[BlockPeer] = ()
) -> tuple[Holder, ...]:
    """Return the holders of a cluster, and of what is outside of it.

    `extra` are blocks whose addresses must be told from others though no policy names them.
    """
    pods = tuple(_pods(cluster))
    inside = (*pods, *_nodes(cluster, {one.address for one in pods}))
    return (*inside, *outside_of(inside, (*blocks_of(policies), *extra)))


def _pods(cluster: Cluster) -> Iterator[Holder]:
    owners = owners_of(cluster.pods)
    for key in sorted(cluster.pods):
        pod = cluster.pods[key]
        namespace = cluster.namespaces.get(key.namespace)
        labels = namespace.labels if namespace is not None else {}
        for address in pod.addresses:
            if owners.get(address) == key:
                yield Holder(address=address, pod=pod, namespace=labels, spans=_just(address))


def owners_of(pods: Mapping[PodKey, Pod]) -> dict[IPAddress, PodKey]:
    """Return which pod has each address: not a finished one, and of several the youngest."""
    owners: dict[IPAddress, PodKey] = {}
    for pod in sorted(pods.values(), key=lambda one: (one.created_at, one.key)):
        if not pod.is_finished and not pod.is_host_network:
            owners.update(dict.fromkeys(pod.addresses, pod.key))
    return owners


def _nodes(cluster: Cluster, pods: Set[IPAddress]) -> Iterator[Holder]:
    having: dict[IPAddress, dict[NodeName, Node]] = {}
    for name, node in sorted(cluster.nodes.items()):
        for address in node.addresses:
            having.setdefault(address, {})[name] = node
    for pod in cluster.pods.values():
        if pod.is_host_network and not pod.is_finished and pod.node is not None:
            for address in pod.addresses:
                known = _host(cluster, pod.node, address)
                having.setdefault(address, {}).setdefault(pod.node, known)
    for address in sorted(having.keys() - pods, key=number_of):
        nodes = tuple(having[address].values())
        yield Holder(address=address, nodes=nodes, spans=_just(address))


def _host(cluster: Cluster, name: NodeName, address: IPAddress) -> Node:
    """Return a node by a pod on its network: with the address, or nothing known of it at all."""
    node = cluster.nodes.get(name)
    return Node(name=name) if node is None else replace(node, addresses=(address,))


def _just(address: IPAddress) -> Spans:
    return ((number_of(address), number_of(address)),)


def outside_of(inside: Iterable[Holder], blocks: Iterable[BlockPeer]) -> Iterator[Holder]:
    """Yield one holder for each kind of address that none of `inside` has, IPv4 first.

    A family that nobody inside has and no block names is left out.
    """
    taken: dict[Family, set[int]] = {family: set() for family in Family}
    for one in inside:
        taken[one.family].add(number_of(one.address))
    blocks = tuple(blocks)
    for family in Family:
        mine = [peer for peer in blocks if family_of(peer.block) is family]
        if mine or taken[family]:
            for spans in address_cells(mine, family):
                number = free_number(spans, taken[family])
                if number is not None:
                    yield Holder(address=address_of(number), spans=spans)


def is_own_node(subject: Holder, other: Holder) -> bool:
    """Return whether `other` is the node that the pod `subject` runs on."""
    pod = subject.pod
    return pod is not None and any(node.name == pod.node for node in other.nodes)


def is_same_pod(one: Holder, other: Holder) -> bool:
    """Return whether both are addresses of the same pod."""
    return one.pod is not None and other.pod is not None and one.pod.key == other.pod.key
