"""Small clusters, policies and histories with everything in them that is hard.

Few words, so that selectors meet labels, blocks overlap and cut through pods, and addresses are
used again: two families, named ports with other numbers on other pods, host network, finished
pods, namespaces that are not there, tiers, equal priorities, peers that nobody can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import strategies as st

from terway.model.address import IPAddress, IPPair
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
from terway.policy.cluster import Cluster, NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.flow import AddressEnd, End, Flow, NodeEnd, PodEnd
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    NodePeer,
    PodPeer,
    Policy,
    PolicyKey,
    PortName,
    PortRange,
    Rule,
    Tier,
    UnknownPeer,
)
from terway.policy.selector import EVERYTHING, Operator, Requirement, Selector

NAMESPACES = ("x", "y")
POD_NAMES = ("a", "b", "c", "d")
NODES = (NodeName("n1"), NodeName("n2"))
HERE = NODES[0]

POD_ADDRESSES = tuple(ip_address(f"10.0.0.{i}") for i in range(1, 9))
POD_ADDRESSES_6 = tuple(ip_address(f"fd00::{i}") for i in range(1, 9))
NODE_ADDRESSES = tuple(ip_address(f"10.0.1.{i}") for i in range(1, 5))
NODE_ADDRESSES_6 = tuple(ip_address(f"fd00::1:{i}") for i in range(1, 3))
OUTSIDE = tuple(map(ip_address, ("10.0.0.0", "10.0.0.200", "192.0.2.7", "fd00::ff", "2001:db8::1")))

PORTS = (53, 80, 8080)
PORT_NAMES = ("web", "dns")

BLOCKS = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/23",
            "10.0.0.0/29",
            "10.0.0.4/30",
            "10.0.0.3/32",
            "10.0.1.0/24",
            "::/0",
            "fd00::/64",
            "fd00::/125",
            "fd00::4/126",
            "fd00::3/128",
        ),
    )
)


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


labels = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from(["1", "2"]), "env": st.sampled_from(["1", ""])}
)


@st.composite
def _requirements(draw, keys=("app", "env")) -> Requirement:
    operator = draw(st.sampled_from([Operator.IN, Operator.IN, *Operator]))
    values = frozenset[str]()
    if operator in (Operator.IN, Operator.NOT_IN):
        values = draw(st.frozensets(st.sampled_from(["1", "2", ""]), min_size=1, max_size=2))
    return Requirement(key=draw(st.sampled_from(keys)), operator=operator, values=values)


_labelled = st.frozensets(_requirements(), min_size=1, max_size=2).map(
    lambda wanted: Selector(requirements=wanted)
)
selectors = st.one_of(st.just(EVERYTHING), _labelled)
_named = st.sampled_from(NAMESPACES).map(
    lambda name: Selector(
        requirements=frozenset(
            [
                Requirement(
                    key="kubernetes.io/metadata.name",
                    operator=Operator.IN,
                    values=frozenset([name]),
                )
            ]
        )
    )
)
namespace_selectors = st.one_of(_labelled, _labelled, selectors, _named)


@st.composite
def namespaces(draw) -> Namespace:
    name = draw(st.sampled_from(NAMESPACES))
    return Namespace(name=name, labels={**draw(labels), "kubernetes.io/metadata.name": name})


def _addresses(four, six):
    """Return none, one or both families."""
    pick = (st.sampled_from([*addresses, None]) for addresses in (four, six))
    return st.tuples(*pick).map(lambda pair: tuple(a for a in pair if a is not None))


named_ports = st.lists(
    st.builds(
        NamedPort,
        name=st.sampled_from(PORT_NAMES),
        protocol=st.sampled_from([Protocol.TCP, Protocol.TCP, Protocol.UDP]),
        port=st.sampled_from(PORTS),
    ),
    min_size=0,
    max_size=2,
).map(tuple)

pod_keys = st.builds(PodKey, namespace=st.sampled_from(NAMESPACES), name=st.sampled_from(POD_NAMES))


@st.composite
def pods(draw) -> Pod:
    is_host_network = draw(st.sampled_from([False, False, False, False, True]))
    node = draw(st.sampled_from([HERE, HERE, HERE, HERE, *NODES, None]))
    own = _addresses(POD_ADDRESSES, POD_ADDRESSES_6)
    nodes = _addresses(NODE_ADDRESSES, NODE_ADDRESSES_6)
    return Pod(
        key=draw(pod_keys),
        labels=draw(labels),
        addresses=draw(nodes if is_host_network else own),
        node=node,
        ports=draw(named_ports),
        is_host_network=is_host_network,
        is_finished=draw(st.sampled_from([False, False, False, False, True])),
        created_at=draw(st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"])),
    )


@st.composite
def nodes(draw) -> Node:
    return Node(
        name=draw(st.sampled_from(NODES)),
        labels=draw(labels),
        addresses=draw(_addresses(NODE_ADDRESSES, NODE_ADDRESSES_6)),
    )


@st.composite
def blocks(draw) -> BlockPeer:
    block = draw(st.sampled_from(BLOCKS))
    inside = [b for b in BLOCKS if b.version == block.version and b.subnet_of(block)]
    excepts = draw(st.lists(st.sampled_from(inside), max_size=2))
    return BlockPeer(block=block, excepts=tuple(excepts))


def pod_peers(*, named: bool):
    where = st.one_of(st.sampled_from(NAMESPACES), namespace_selectors)
    return st.builds(PodPeer, namespaces=where if named else namespace_selectors, pods=selectors)


node_peers = st.builds(NodePeer, nodes=selectors)
unknown_peers = st.just(UnknownPeer(field="domainNames"))


@st.composite
def port_ranges(draw) -> PortRange:
    protocol = draw(st.sampled_from([Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.SCTP]))
    if draw(st.booleans()):
        first = draw(st.sampled_from(PORTS))
        return PortRange(protocol=protocol, first=first, last=first)
    first, last = sorted(draw(st.tuples(*[st.sampled_from((0, *PORTS, 65535))] * 2)))
    return PortRange(protocol=protocol, first=first, last=last)


port_names = st.builds(
    PortName,
    name=st.sampled_from(PORT_NAMES),
    protocol=st.sampled_from([None, Protocol.TCP, Protocol.UDP]),
)
ports = st.one_of(
    st.none(), st.lists(st.one_of(port_names, port_ranges()), min_size=1, max_size=2).map(tuple)
)


@st.composite
def _rules(draw, peers, actions=(Action.ACCEPT,), *, can_be_anyone=True):
    """Return up to three rules in a list."""
    several = st.lists(peers, min_size=1, max_size=2).map(tuple)
    who = st.one_of(st.none(), several, several) if can_be_anyone else several
    return tuple(
        Rule(
            index=index,
            peers=draw(who),
            ports=draw(ports),
            action=draw(st.sampled_from(actions)),
        )
        for index in range(draw(st.sampled_from([2, 2, 1, 0])))
    )


_FEW = ("p", "q", "r")


@st.composite
def network_policies(draw) -> NetworkPolicy:
    namespace = draw(st.sampled_from(NAMESPACES))
    key = PolicyKey(kind=Kind.NETWORK, namespace=namespace, name=draw(st.sampled_from(_FEW)))
    if draw(st.integers(min_value=0, max_value=9)) == 0:  # as the parser gives what it cannot read
        return NetworkPolicy(key=key, pods=draw(selectors), ingress=(), fault="spec: unreadable")
    own = st.builds(PodPeer, namespaces=st.just(namespace), pods=selectors)
    peers = st.one_of(own, pod_peers(named=True), blocks(), blocks(), unknown_peers)
    return NetworkPolicy(
        key=key,
        pods=draw(selectors),
        ingress=draw(_rules(peers)) if draw(st.booleans()) else None,
        egress=draw(_rules(peers)) if draw(st.sampled_from([True, True, False])) else None,
    )


@st.composite
def cluster_policies(draw) -> ClusterPolicy:
    inner = pod_peers(named=False)
    outer = st.one_of(inner, inner, blocks(), node_peers, unknown_peers)
    actions = tuple(Action)
    return ClusterPolicy(
        key=PolicyKey(kind=Kind.CLUSTER, name=draw(st.sampled_from(_FEW))),
        tier=draw(st.sampled_from(list(Tier))),
        priority=draw(st.sampled_from([1, 2])),
        subject=draw(inner),
        ingress=draw(_rules(st.one_of(inner, inner, inner, unknown_peers), actions)),
        egress=draw(_rules(outer, actions)),
    )


policies = st.one_of(network_policies(), network_policies(), cluster_policies())


@st.composite
def worlds(draw, *, max_pods: int = 7, max_policies: int = 8) -> World:
    """Return a cluster and policies. No two pods that live claim one address."""
    spaces = draw(st.lists(namespaces(), min_size=1, max_size=3))
    machines = draw(st.lists(nodes(), min_size=1, max_size=2, unique_by=lambda one: one.name))
    drawn = draw(st.lists(pods(), min_size=4, max_size=max_pods, unique_by=lambda one: one.key))
    rules = draw(st.lists(policies, min_size=4, max_size=max_policies))
    cluster = Cluster(
        namespaces={one.name: one for one in spaces},
        pods={pod.key: pod for pod in _one_owner_each(drawn)},
        nodes={one.name: one for one in machines},
    )
    return World(cluster=cluster, policies=tuple({one.key: one for one in rules}.values()))


def _one_owner_each(found) -> Iterator[Pod]:
    taken: set[IPAddress] = set()
    for pod in found:
        if pod.is_finished or pod.is_host_network:
            yield pod
        else:
            yield replace(pod, addresses=tuple(a for a in pod.addresses if a not in taken))
            taken |= set(pod.addresses)


def pair_of(addresses) -> IPPair:
    """Return at most one address of each family."""
    return IPPair(
        v4=next((a for a in addresses if isinstance(a, IPv4Address)), None),
        v6=next((a for a in addresses if isinstance(a, IPv6Address)), None),
    )


pairs = _addresses(POD_ADDRESSES, POD_ADDRESSES_6).map(pair_of)

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
