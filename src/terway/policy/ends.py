"""Who are the two ends of a connection, by address, in this state of the cluster?"""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Pod
from terway.policy.flow import AddressEnd, End, Flow, NodeEnd, PodEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who an end is: a pod with an address of its own, a node, or (neither) somebody outside.

    A pod on the host's network is its node, so `pod` is never one. Two nodes may say that an
    address is theirs.
    """

    address: IPAddress
    pod: Pod | None = None
    nodes: frozenset[NodeName] = frozenset()


def parties_of(cluster: Cluster, flow: Flow) -> tuple[Party, Party]:
    """Return source and destination. Raises UsageError for an end that cannot make connections."""
    sources, destinations = (addresses_of(cluster, end) for end in (flow.source, flow.destination))
    family = flow.family or _common_family(flow, sources, destinations)
    return (
        _party(cluster, flow.source, sources, family),
        _party(cluster, flow.destination, destinations, family),
    )


def name_end(end: End) -> str:
    """Return an end in words: `web/a`, `node n1`, `10.0.0.1`."""
    match end:
        case PodEnd(pod=key):
            return f"pod {key}"
        case NodeEnd(node=name):
            return f"node {name}"
        case AddressEnd(address=address):
            return str(address)


def addresses_of(cluster: Cluster, end: End) -> tuple[IPAddress, ...]:
    """Return an end's addresses. Raises UsageError for a pod or node that is not there."""
    match end:
        case AddressEnd(address=address):
            return (address,)
        case NodeEnd(node=name):
            if name not in cluster.nodes:
                raise UsageError(f"node {name} is not in the cluster: name one that is")
            return cluster.nodes[name].addresses
        case PodEnd(pod=key):
            pod = cluster.pods.get(key)
            if pod is None:
                raise UsageError(f"pod {key} is not in the cluster: name one that is")
            if pod.is_finished:
                raise UsageError(f"pod {key} has finished: it has no address any more")
            if pod.is_host_network and not pod.addresses and pod.node is not None:
                return addresses_of(cluster, NodeEnd(node=pod.node))
            return pod.addresses


def owner_of(cluster: Cluster, address: IPAddress) -> Pod | None:
    """Return the pod whose own address it is now: of those that claim it, the latest."""
    claims = [
        pod
        for pod in cluster.pods.values()
        if address in pod.addresses and not pod.is_finished and not pod.is_host_network
    ]
    return max(claims, key=lambda pod: (pod.created_at, pod.key), default=None)


def nodes_with(cluster: Cluster, address: IPAddress) -> frozenset[NodeName]:
    """Return the nodes that have the address: by their status, or by a pod on their network."""
    return frozenset(
        [node.name for node in cluster.nodes.values() if address in node.addresses]
        + [
            pod.node
            for pod in cluster.pods.values()
            if pod.is_host_network
            and not pod.is_finished
            and pod.node is not None
            and address in pod.addresses
        ]
    )


def _common_family(
    flow: Flow, sources: tuple[IPAddress, ...], destinations: tuple[IPAddress, ...]
) -> Family:
    theirs = {family_of(address) for address in destinations}
    common = (family_of(address) for address in sources if family_of(address) in theirs)
    family = next(common, None)
    if family is None:
        ends = f"{name_end(flow.source)} and {name_end(flow.destination)}"
        raise UsageError(f"{ends} have no address of one family: give both one")
    return family


def _party(cluster: Cluster, end: End, addresses: tuple[IPAddress, ...], family: Family) -> Party:
    address = next((found for found in addresses if family_of(found) is family), None)
    if address is None:
        raise UsageError(f"{name_end(end)} has no IPv{family.value} address: ask for the other")
    owner = owner_of(cluster, address)
    match end:
        case NodeEnd(node=name):
            return Party(address=address, nodes=nodes_with(cluster, address) | {name})
        case PodEnd(pod=key) if cluster.pods[key].is_host_network:
            return Party(address=address, nodes=nodes_with(cluster, address))
        case PodEnd(pod=key) if owner is not cluster.pods[key]:
            raise UsageError(f"{address} of pod {key} is not its own now: ask for the address")
    if owner is not None:
        return Party(address=address, pod=owner)
    return Party(address=address, nodes=nodes_with(cluster, address))
