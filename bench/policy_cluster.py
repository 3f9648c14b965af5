"""Which cluster do the figures of the policy compiler speak of?

Namespaces of ten pods in three deployments, each with what such namespaces have: everything
closed but DNS, an ingress controller from a namespace of its own, back ends from front ends,
a database by the name of its port, monitoring from wherever it is, a partner's network, the world
without the private ranges. Above them a dozen cluster policies. One namespace in four has IPv6 too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network

from terway.model.address import IPAddress
from terway.model.ids import NodeName
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.policy.cluster import Cluster, NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    PolicyKey,
    Port,
    PortName,
    PortRange,
    Rule,
    Tier,
)

PODS_A_NODE = 100
PODS_A_NAMESPACE = 10
APPS = ("front", "back", "db")
PORTS = {"front": 8080, "back": 9000, "db": 5432}
TEAMS = 50

_FIRST_POD = IPv4Address("10.64.0.1")
_FIRST_POD_6 = IPv6Address("2001:db8:1::1")
_FIRST_NODE = IPv4Address("10.32.0.1")
_PARTNERS = IPv4Address("172.16.0.0")
_SYSTEM, _INGRESS, _MONITORING = "kube-system", "ingress", "monitoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Big:
    """A cluster and its policies."""

    cluster: Cluster
    policies: tuple[Policy, ...]


def big_cluster(*, pods: int, policies: int) -> Big:
    """Return the cluster with so many pods and policies; the same at each call."""
    names = [_SYSTEM, _INGRESS, _MONITORING]
    names += [f"ns-{i}" for i in range(pods // PODS_A_NAMESPACE - len(names))]
    nodes = [_node(i) for i in range(max(1, pods // PODS_A_NODE))]
    above = tuple(_cluster_policies())
    below = policies - len(above)
    each = -(-below // len(names))
    inside = [
        _KINDS[k and 1 + (k + i) % _OPEN](n, k) for k in range(each) for i, n in enumerate(names)
    ]
    return Big(
        cluster=Cluster(
            namespaces={name: _namespace(i, name) for i, name in enumerate(names)},
            pods={pod.key: pod for i in range(pods) for pod in [_pod(i, names, len(nodes))]},
            nodes={node.name: node for node in nodes},
        ),
        policies=(*above, *inside[:below]),
    )


def one_more_pod(big: Big, number: int, node: NodeName) -> Pod:
    """Return a pod that the cluster does not have, of a deployment that it has."""
    names = list(big.cluster.namespaces)
    pod = _pod(len(big.cluster.pods) + number * 7, names, 1)
    return replace(pod, node=node)


def one_more_policy(namespace: str, number: int) -> NetworkPolicy:
    """Return a policy that the namespace does not have, of the kinds that there are."""
    return _KINDS[number % len(_KINDS)](namespace, 1000 + number)


def _namespace(index: int, name: str) -> Namespace:
    labels = {
        "kubernetes.io/metadata.name": name,
        "team": f"team-{index % TEAMS}",
        "env": ("prod", "prod", "test", "dev")[index % 4],
    }
    return Namespace(name=name, labels=labels)


def _node(index: int) -> Node:
    role = "control-plane" if index % 50 == 0 else "worker"
    return Node(
        name=NodeName(f"node-{index}"), labels={"role": role}, addresses=(_FIRST_NODE + index,)
    )


def _pod(index: int, names: list[str], nodes: int) -> Pod:
    # Those of a namespace are on different nodes, so that a node has pods of many.
    place, number = index % len(names), index // len(names)
    app = APPS[number % len(APPS)]
    addresses: tuple[IPAddress, ...] = (_FIRST_POD + index,)
    if place % 4 == 0:
        addresses += (_FIRST_POD_6 + index,)
    return Pod(
        key=PodKey(namespace=names[place], name=f"{app}-{number}"),
        labels=_pod_labels(names[place], app, number),
        addresses=addresses,
        node=NodeName(f"node-{(place + number * 7) % nodes}"),
        ports=(NamedPort(name=app, protocol=Protocol.TCP, port=PORTS[app] + place % 3),),
    )


def _pod_labels(namespace: str, app: str, number: int) -> dict[str, str]:
    shared = {_SYSTEM: "dns", _INGRESS: "gateway", _MONITORING: "prometheus"}
    app = shared.get(namespace, app)
    return {"app": app, "tier": app[:1], "pod-template-hash": f"5d{number % 3}", "v": "1"}


def _has(key: str, *values: str) -> Selector:
    one = Requirement(key=key, operator=Operator.IN, values=frozenset(values))
    return Selector(requirements=frozenset({one}))


def _named(name: str) -> Selector:
    return _has("kubernetes.io/metadata.name", name)


def _tcp(*ports: int) -> tuple[Port, ...]:
    return tuple(PortRange(protocol=Protocol.TCP, first=port, last=port) for port in ports)


def _rule(*peers: Peer, ports: tuple[Port, ...] | None = None, index: int = 0) -> Rule:
    return Rule(index=index, peers=peers or None, ports=ports)


def _policy(
    namespace: str,
    number: int,
    pods: Selector,
    *,
    ingress: tuple[Rule, ...] | None = None,
    egress: tuple[Rule, ...] | None = None,
) -> NetworkPolicy:
    key = PolicyKey(kind=Kind.NETWORK, namespace=namespace, name=f"p{number}")
    return NetworkPolicy(key=key, pods=pods, ingress=ingress, egress=egress)


def _closed(namespace: str, number: int) -> NetworkPolicy:
    dns = PodPeer(namespaces=_named(_SYSTEM), pods=_has("app", "dns"))
    ports = (*_tcp(53), PortRange(protocol=Protocol.UDP, first=53, last=53))
    return _policy(namespace, number, EVERYTHING, ingress=(), egress=(_rule(dns, ports=ports),))


def _from_ingress(namespace: str, number: int) -> NetworkPolicy:
    gateway = PodPeer(namespaces=_named(_INGRESS), pods=_has("app", "gateway"))
    ports: tuple[Port, ...] = (PortName(name="front", protocol=Protocol.TCP),)
    return _policy(namespace, number, _has("app", "front"), ingress=(_rule(gateway, ports=ports),))


def _from_front(namespace: str, number: int) -> NetworkPolicy:
    front = PodPeer(namespaces=namespace, pods=_has("app", "front"))
    ports: tuple[Port, ...] = (PortRange(protocol=Protocol.TCP, first=9000, last=9010),)
    return _policy(namespace, number, _has("app", "back"), ingress=(_rule(front, ports=ports),))


def _to_database(namespace: str, number: int) -> NetworkPolicy:
    db = PodPeer(namespaces=namespace, pods=_has("app", "db"))
    ports: tuple[Port, ...] = (PortName(name="db", protocol=Protocol.TCP),)
    return _policy(
        namespace, number, _has("app", "back", "front"), egress=(_rule(db, ports=ports),)
    )


def _outside(namespace: str, number: int) -> NetworkPolicy:
    place = abs(int(namespace.rpartition("-")[2])) if namespace[-1].isdigit() else 0
    partner = ip_network((_PARTNERS + place % 200 * 256, 24))
    world = BlockPeer(
        block=ip_network("0.0.0.0/0"),
        excepts=(ip_network("10.0.0.0/8"), ip_network("100.64.0.0/10")),
    )
    rules = (
        _rule(BlockPeer(block=partner), ports=_tcp(8443)),
        _rule(world, ports=_tcp(443), index=1),
    )
    return _policy(namespace, number, _has("app", "back"), egress=rules)


def _monitored(namespace: str, number: int) -> NetworkPolicy:
    anywhere = PodPeer(namespaces=EVERYTHING, pods=_has("app", "prometheus"))
    return _policy(namespace, number, EVERYTHING, ingress=(_rule(anywhere, ports=_tcp(9090)),))


def _from_team(namespace: str, number: int) -> NetworkPolicy:
    team = f"team-{len(namespace) * 7 % TEAMS}"
    mates = PodPeer(namespaces=_has("team", team), pods=_has("app", "front"))
    return _policy(namespace, number, _has("app", "back"), ingress=(_rule(mates, ports=_tcp(81)),))


def _within(namespace: str, number: int) -> NetworkPolicy:
    own = PodPeer(namespaces=namespace, pods=EVERYTHING)
    return _policy(namespace, number, _has("v", "1"), ingress=(_rule(own, ports=_tcp(8000)),))


_KINDS: tuple[Callable[[str, int], NetworkPolicy], ...] = (
    _closed,
    _from_ingress,
    _from_front,
    _to_database,
    _monitored,
    _outside,
    _from_team,
    _within,
)
_OPEN = len(_KINDS) - 1  # all but the first, which every namespace has


def _cluster_policies() -> Iterator[ClusterPolicy]:
    whole = PodPeer(namespaces=EVERYTHING, pods=EVERYTHING)
    monitoring = PodPeer(namespaces=_named(_MONITORING), pods=_has("app", "prometheus"))
    dns = PodPeer(namespaces=_named(_SYSTEM), pods=_has("app", "dns"))
    masters = NodePeer(nodes=_has("role", "control-plane"))
    metadata = BlockPeer(block=ip_network("100.100.100.200/32"))
    yield _above("monitoring", 10, whole, ingress=((Action.ACCEPT, monitoring, _tcp(9090, 9100)),))
    yield _above("dns", 20, whole, egress=((Action.ACCEPT, dns, None),))
    yield _above(
        "nodes",
        30,
        whole,
        egress=((Action.DENY, masters, _tcp(2379)), (Action.DENY, metadata, None)),
    )
    for team in range(8):
        theirs = PodPeer(namespaces=_has("team", f"team-{team}"), pods=EVERYTHING)
        audit = PodPeer(namespaces=_has("team", f"team-{team}"), pods=_has("app", "db"))
        rules = ((Action.PASS, theirs, _tcp(8000)), (Action.DENY, audit, None))
        yield _above(f"team-{team}", 100 + team, theirs, ingress=rules)
    dev = PodPeer(namespaces=_has("env", "dev"), pods=EVERYTHING)
    prod = PodPeer(namespaces=_has("env", "prod"), pods=EVERYTHING)
    yield _above("dev", 1, prod, Tier.BASELINE, ingress=((Action.DENY, dev, None),))


_Said = tuple[Action, Peer, tuple[Port, ...] | None]


def _above(
    name: str,
    priority: int,
    subject: PodPeer,
    tier: Tier = Tier.ADMIN,
    *,
    ingress: tuple[_Said, ...] = (),
    egress: tuple[_Said, ...] = (),
) -> ClusterPolicy:
    return ClusterPolicy(
        key=PolicyKey(kind=Kind.CLUSTER, name=name),
        tier=tier,
        priority=priority,
        subject=subject,
        ingress=_cluster_rules(ingress),
        egress=_cluster_rules(egress),
    )


def _cluster_rules(said: tuple[_Said, ...]) -> tuple[Rule, ...]:
    return tuple(
        Rule(index=index, peers=(peer,), ports=ports, action=action)
        for index, (action, peer, ports) in enumerate(said)
    )
