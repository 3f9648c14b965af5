"""Small clusters and policies in which everything happens to everybody: for property tests."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    NodePeer,
    PodPeer,
    PolicyKey,
    PortName,
    PortRange,
    Rule,
    Tier,
    UnknownPeer,
)
from terway.policy.reading.parse_objects import NAME_LABEL
from terway.policy.selector import Operator, Requirement, Selector

SPACES = ("x", "y")
KEYS = ("app", "tier")
VALUES = ("a", "b")
NAMES = ("http", "dns")
OUTSIDE = ("192.0.2.1", "192.0.2.200", "10.0.0.99", "2001:db8::99")
BLOCKS = ("0.0.0.0/0", "10.0.0.0/30", "10.0.0.0/24", "192.0.2.128/25", "2001:db8::/64", "::/0")
PORTS = (79, 80, 81, 8080)
WITH_PORTS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


def labels():
    return st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)


@st.composite
def requirements(draw, keys=KEYS, values=VALUES):
    operator = draw(st.sampled_from(Operator))
    few = st.frozensets(st.sampled_from(values), min_size=1, max_size=2)
    has_values = operator in (Operator.IN, Operator.NOT_IN)
    return Requirement(
        key=draw(st.sampled_from(keys)),
        operator=operator,
        values=draw(few) if has_values else frozenset(),
    )


def selectors(keys=KEYS, values=VALUES):
    few = st.frozensets(requirements(keys, values), max_size=2)
    return few.map(lambda found: Selector(requirements=found))


def space_selectors():
    return st.one_of(selectors(("team",), VALUES), selectors((NAME_LABEL,), SPACES))


def pod_peers(own: str | None):
    spaces = space_selectors() if own is None else st.one_of(st.just(own), space_selectors())
    return st.builds(PodPeer, namespaces=spaces, pods=selectors())


@st.composite
def block_peers(draw):
    block = ip_network(draw(st.sampled_from(BLOCKS)))
    inside = [
        net
        for net in (*map(ip_network, BLOCKS), ip_network("10.0.0.1/32"))
        if net.version == block.version and net.prefixlen > block.prefixlen and net[0] in block
    ]
    excepts = draw(st.lists(st.sampled_from(inside), max_size=2)) if inside else []
    return BlockPeer(block=block, excepts=tuple(excepts))


@st.composite
def ports(draw):
    protocol = draw(st.sampled_from(WITH_PORTS))
    if draw(st.booleans()):
        known = draw(st.sampled_from([None, protocol]))
        return PortName(name=draw(st.sampled_from(NAMES)), protocol=known)
    first, last = sorted((draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))))
    return draw(
        st.sampled_from(
            [PortRange(protocol=protocol), PortRange(protocol=protocol, first=first, last=last)]
        )
    )


def some(items, *, at_least=1):
    return st.lists(items, min_size=at_least, max_size=2).map(tuple)


@st.composite
def network_rules(draw, space):
    count = draw(st.integers(0, 2))
    peers = st.one_of(st.none(), some(st.one_of(pod_peers(space), block_peers())))
    return tuple(
        Rule(index=at, peers=draw(peers), ports=draw(st.one_of(st.none(), some(ports()))))
        for at in range(count)
    )


@st.composite
def network_policies(draw, name):
    space = draw(st.sampled_from(SPACES))
    directions = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    ingress, egress = (draw(network_rules(space)) if has else None for has in directions)
    return NetworkPolicy(
        key=PolicyKey(kind=Kind.NETWORK, namespace=space, name=name),
        pods=draw(selectors()),
        ingress=ingress,
        egress=egress,
    )


@st.composite
def cluster_rules(draw, is_egress):
    kinds = [pod_peers(None)]
    if is_egress:
        kinds += [block_peers(), st.builds(NodePeer, nodes=selectors(("zone",)))]
    kinds.append(st.just(UnknownPeer(field="new")) if draw(st.integers(0, 9)) == 0 else kinds[0])
    return tuple(
        Rule(
            index=at,
            peers=draw(some(st.one_of(kinds))),
            ports=draw(st.one_of(st.none(), some(ports()))),
            action=draw(st.sampled_from(Action)),
        )
        for at in range(draw(st.integers(0, 2)))
    )


@st.composite
def cluster_policies(draw, name):
    return ClusterPolicy(
        key=PolicyKey(kind=Kind.CLUSTER, name=name),
        tier=draw(st.sampled_from(Tier)),
        priority=draw(st.integers(0, 2)),
        subject=draw(pod_peers(None)),
        ingress=draw(cluster_rules(False)),
        egress=draw(cluster_rules(True)),
    )


@st.composite
def policy_sets(draw, most=4):
    kinds = draw(st.lists(st.booleans(), max_size=most))
    return tuple(
        draw(network_policies(f"p{at}") if is_network else cluster_policies(f"p{at}"))
        for at, is_network in enumerate(kinds)
    )


@st.composite
def named_ports(draw):
    names = draw(st.lists(st.sampled_from(NAMES), max_size=2))
    return tuple(
        NamedPort(
            name=name,
            protocol=draw(st.sampled_from(WITH_PORTS)),
            port=draw(st.sampled_from(PORTS)),
        )
        for name in names
    )


@st.composite
def clusters(draw, most_pods=4):
    spaces = {
        name: Namespace(
            name=name,
            labels={**draw(st.sampled_from([{}, {"team": "a"}, {"team": "b"}])), NAME_LABEL: name},
        )
        for name in (*SPACES, "z")
    }
    nodes = {
        NodeName(f"n{at}"): Node(
            name=NodeName(f"n{at}"),
            labels=draw(st.sampled_from([{}, {"zone": "a"}, {"zone": "b"}])),
            addresses=(ip_address(f"10.0.0.{250 + at}"),),
        )
        for at in range(2)
    }
    pods = [draw(_pods(at, tuple(nodes))) for at in range(draw(st.integers(1, most_pods)))]
    return Cluster(namespaces=spaces, nodes=nodes, pods={pod.key: pod for pod in pods})


@st.composite
def _pods(draw, at, nodes):
    both = (ip_address(f"10.0.0.{at + 1}"), ip_address(f"2001:db8::{at + 1}"))
    return Pod(
        key=PodKey(namespace=draw(st.sampled_from((*SPACES, "z"))), name=f"pod{at}"),
        labels=draw(labels()),
        addresses=draw(st.sampled_from([both[:1], both])),
        node=draw(st.sampled_from((None, *nodes))),
        ports=draw(named_ports()),
        is_host_network=draw(st.integers(0, 9)) == 0,
    )
