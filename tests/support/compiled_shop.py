"""A shop, and what a compiler says of it: the server is held on this node, the client elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from terway.model.address import IPPair
from terway.model.ids import NodeName
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.policy.changes import (
    Attach,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Namespace, Node, Pod, PodKey, Protocol
from terway.policy.compiled import NOBODY, Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    Peer,
    PodPeer,
    Policy,
    PolicyKey,
    PortRange,
    Rule,
    Tier,
)
from terway.policy.ports import EVERY_PORT, PortSet, ports_of
from tests.support.small_clusters import pair_of

HERE = NodeName("n1")
SERVER, CLIENT = PodKey(namespace="shop", name="server"), PodKey(namespace="shop", name="client")
SERVER_AT, CLIENT_AT = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
NODE_AT, GHOST_AT = IPv4Address("10.1.0.1"), IPv4Address("10.0.0.8")
HTTP = PortRange(protocol=Protocol.TCP, first=80, last=80)
ONLY_HTTP = ports_of(Protocol.TCP, 80, 80)


def labelled(key: str, value: str) -> Selector:
    one = Requirement(key=key, operator=Operator.IN, values=frozenset({value}))
    return Selector(requirements=frozenset({one}))


def pod(name: str, address: str, app: str = "client", namespace: str = "shop", **more) -> Pod:
    key = PodKey(namespace=namespace, name=name)
    return Pod(key=key, labels={"app": app}, addresses=(ip_address(address),), **more)


def attach(pod: Pod) -> Attach:
    return Attach(key=pod.key, addresses=pair_of(pod.addresses))


def peer(app: str, namespaces: str | Selector = "shop") -> PodPeer:
    return PodPeer(namespaces=namespaces, pods=labelled("app", app))


def rule(*peers: Peer, ports=(HTTP,), index: int = 0, action: Action = Action.ACCEPT) -> Rule:
    return Rule(index=index, peers=peers or None, ports=ports, action=action)


def policy(name: str = "p", **directions) -> NetworkPolicy:
    key = PolicyKey(kind=Kind.NETWORK, namespace="shop", name=name)
    return NetworkPolicy(key=key, pods=labelled("app", "server"), **directions)


def clients_may(ports=(HTTP,)) -> SetPolicy:
    """Return the change that lets the client in, on these ports; it is one policy's."""
    return SetPolicy(policy=policy(ingress=(rule(peer("client"), ports=ports),)))


def above(name: str, *rules: Rule, tier: Tier = Tier.ADMIN, is_egress: bool = True) -> Policy:
    return ClusterPolicy(
        key=PolicyKey(kind=Kind.CLUSTER, name=name),
        tier=tier,
        priority=1,
        subject=PodPeer(namespaces=EVERYTHING, pods=EVERYTHING),
        ingress=() if is_egress else rules,
        egress=rules if is_egress else (),
    )


def shop_compiler() -> Compiler:
    """Return that of a node which holds the server; the client is elsewhere."""
    made = Compiler(HERE)
    made.apply(
        [
            SetNamespace(namespace=Namespace(name="shop", labels={"team": "a"})),
            SetNode(node=Node(name=HERE, addresses=(NODE_AT,))),
            SetPod(pod=pod("server", "10.0.0.1", "server", node=HERE)),
            SetPod(pod=pod("client", "10.0.0.2")),
            Attach(key=SERVER, addresses=IPPair(v4=SERVER_AT)),
        ]
    )
    return made


def allowed(compiled: Compiled, address: str, side: str = "ingress") -> PortSet:
    """Return what the server's side allows to an address."""
    number = getattr(compiled.sides[SERVER], side)
    if number is None:
        return EVERY_PORT
    other = ip_address(address)
    nets = (n.class_id for n in compiled.nets if n.first <= int(other) <= n.last)
    return compiled.rule_sets[number].allowed(compiled.hosts.get(other, next(nets, NOBODY)))
