"""Policies for small clusters: every kind of peer and port, tiers, equal priorities, and peers that
nobody can read.
"""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import strategies as st

from terway.policy.cluster import Protocol
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
from tests.support.small_clusters import (
    NAMESPACES,
    PORT_NAMES,
    PORTS,
    namespace_selectors,
    selectors,
)

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
def policy_sets(draw, *, least: int = 0, most: int = 4) -> tuple[Policy, ...]:
    """Return policies; of one key there is one."""
    drawn = draw(st.lists(policies, min_size=least, max_size=most))
    return tuple({one.key: one for one in drawn}.values())
