"""Small clusters with everything in them that is hard: pods, namespaces, nodes.

Few words, so that selectors meet labels, blocks overlap and cut through pods, and addresses are
used again: two families, named ports with other numbers on other pods, host network, finished
pods, namespaces that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import strategies as st

from terway.model.address import IPAddress, IPPair
from terway.model.ids import NodeName
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.policy.cluster import Cluster, NamedPort, Namespace, Node, Pod, PodKey, Protocol

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


def addresses(four, six):
    """Return none, one or both families."""
    pick = (st.sampled_from([*several, None]) for several in (four, six))
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
    own = addresses(POD_ADDRESSES, POD_ADDRESSES_6)
    nodes = addresses(NODE_ADDRESSES, NODE_ADDRESSES_6)
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
        addresses=draw(addresses(NODE_ADDRESSES, NODE_ADDRESSES_6)),
    )


@st.composite
def clusters(draw, *, min_pods: int = 1, max_pods: int = 4) -> Cluster:
    """Return a cluster. No two pods that live claim one address."""
    spaces = draw(st.lists(namespaces(), min_size=1, max_size=3))
    machines = draw(st.lists(nodes(), min_size=1, max_size=2, unique_by=lambda one: one.name))
    found = st.lists(pods(), min_size=min_pods, max_size=max_pods, unique_by=lambda one: one.key)
    return Cluster(
        namespaces={one.name: one for one in spaces},
        pods={pod.key: pod for pod in _one_owner_each(draw(found))},
        nodes={one.name: one for one in machines},
    )


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
