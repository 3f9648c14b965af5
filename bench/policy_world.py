"""Which cluster, and which policies, are in force while a connection is measured?

    client ──► pod "server" on the node that is measured

    worst    every policy selects the server; the one that lets the client in is in the middle
    spread   every policy selects a pod of its own namespace; five select the server

Each policy lets the two pods of a group of its own reach one port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from terway.model.ids import NodeName
from terway.model.selector import Operator, Requirement, Selector
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.policies import Kind, NetworkPolicy, PodPeer, PolicyKey, PortRange, Rule

NODE = NodeName("node-1")
SERVER = PodKey(namespace="shop", name="server")
SERVER_ADDRESS = IPv4Address("10.1.0.2")
CLIENT_ADDRESS = IPv4Address("10.2.0.2")
PORT = 5201

_FIRST_PEER = IPv4Address("10.8.0.0")
_GROUPS = 5_000
_PEERS = 10_000
_NEIGHBOURS = 99  # pods of the node beside the server
_OF_THE_SERVER = 5
_PORTS = 40  # how many ports the policies name between them


class Shape(Enum):
    """Whom the policies select."""

    WORST = "worst"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A cluster with its policies, as a node sees it, in the order of their names."""

    cluster: Cluster
    policies: tuple[NetworkPolicy, ...]


def world_of(count: int, shape: Shape) -> World:
    """Return the cluster with `count` policies; without any, everybody may do everything."""
    pods = [_client(), *_local_pods(), *_peers()]
    names = {pod.key.namespace for pod in pods}
    return World(
        cluster=Cluster(
            namespaces={name: Namespace(name=name) for name in names},
            pods={pod.key: pod for pod in pods},
            nodes={NODE: Node(name=NODE, addresses=(IPv4Address("10.1.0.1"),))},
        ),
        policies=tuple(_policies(count, shape)),
    )


def _client() -> Pod:
    key = PodKey(namespace="shop", name="client")
    return Pod(key=key, labels={"role": "client"}, addresses=(CLIENT_ADDRESS,))


def _local_pods() -> Iterator[Pod]:
    yield Pod(key=SERVER, labels={"app": "server"}, addresses=(SERVER_ADDRESS,), node=NODE)
    for number in range(_NEIGHBOURS):
        key = PodKey(namespace=f"team-{number}", name="app")
        address = SERVER_ADDRESS + 1 + number
        yield Pod(key=key, labels={"app": "server"}, addresses=(address,), node=NODE)


def _peers() -> Iterator[Pod]:
    for number in range(_PEERS):
        key = PodKey(namespace="shop", name=f"peer-{number}")
        labels = {"group": str(number % _GROUPS)}
        yield Pod(key=key, labels=labels, addresses=(_FIRST_PEER + number,))


def _policies(count: int, shape: Shape) -> Iterator[NetworkPolicy]:
    selecting = count if shape is Shape.WORST else min(count, _OF_THE_SERVER)
    for number in range(count):
        is_of_server = number < selecting
        yield _policy(
            number,
            namespace=SERVER.namespace if is_of_server else f"team-{number % (count // 5)}",
            lets_client_in=number == selecting // 2,
        )


def _policy(number: int, *, namespace: str, lets_client_in: bool) -> NetworkPolicy:
    wanted = ("role", "client") if lets_client_in else ("group", str(number % _GROUPS))
    # By name, so that whoever goes by the policies one after the other has the order that is meant.
    name = f"allow-{number:05}"
    peer = PodPeer(namespaces="shop", pods=_labelled(*wanted))
    port = PORT if lets_client_in else PORT + number % _PORTS
    ports = (PortRange(protocol=Protocol.TCP, first=port, last=port),)
    return NetworkPolicy(
        key=PolicyKey(kind=Kind.NETWORK, namespace=namespace, name=name),
        pods=_labelled("app", "server"),
        ingress=(Rule(index=0, peers=(peer,), ports=ports),),
    )


def _labelled(key: str, value: str) -> Selector:
    one = Requirement(key=key, operator=Operator.IN, values=frozenset({value}))
    return Selector(requirements=frozenset({one}))
