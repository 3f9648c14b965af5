"""What does the Kubernetes API say about pods, nodes and services?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import msgspec

from terway.cli.place import Place
from terway.cli.rights import PersonsClient, RightsError
from terway.cli.second_addresses import read_pod_enis
from terway.cli.snapshot import KubeNode, KubePod, KubeService, KubeView
from terway.kube.client import EVERYTHING, KubeClient, Selector
from terway.kube.connection import Connection, read_in_cluster, read_kubeconfig
from terway.kube.resource import NODES, PODS, Resource
from terway.kube.types import Node, Pod
from terway.model.address import IPAddress
from terway.model.errors import TransientError, UsageError
from terway.policy.cluster import PodKey

_TIMEOUT_S = 10.0
_GOOD_WHEN_TRUE = ("Ready", "SufficientIP", "NetworkPolicyInForce")

SERVICES: Resource[dict[str, Any]] = Resource(
    group="", version="v1", plural="services", kind="Service", namespaced=True, read_as=dict
)
SLICES: Resource[dict[str, Any]] = Resource(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    kind="EndpointSlice",
    namespaced=True,
    read_as=dict,
)


def find_connection(place: Place) -> Connection:
    """Return how to reach the API server. Raises TransientError when nobody says."""
    if place.kubeconfig is not None:
        return read_kubeconfig(place.kubeconfig)
    try:
        return read_in_cluster(os.environ)
    except UsageError as error:
        raise TransientError(f"{error}: --kubeconfig FILE") from error


def open_client(place: Place) -> KubeClient:
    """Return a client, for `async with`; a missing right is RightsError with what helps."""
    connection = find_connection(place)
    return PersonsClient(connection, kubeconfig=place.kubeconfig, timeout_s=_TIMEOUT_S)


async def read_kube(place: Place, *, everything: bool = False) -> KubeView:
    """Return this node and its pods; with `everything` all nodes, pods and services."""
    async with open_client(place) as client:
        only = Selector(fields=f"spec.nodeName={place.node_name}")
        pods = await client.list(PODS, selector=EVERYTHING if everything else only)
        nodes = await client.list(NODES)
        services = await _services(client) if everything else ()
        of_enis = await read_pod_enis(client) if everything else {}
    shown = (
        nodes.items
        if everything
        else (one for one in nodes.items if one.metadata.name == place.node_name)
    )
    return KubeView(
        pods=tuple(_pod(one, of_enis) for one in pods.items),
        nodes=tuple(map(_node, shown)),
        services=services,
    )


def _pod(pod: Pod, of_enis: Mapping[PodKey, tuple[IPAddress, ...]]) -> KubePod:
    texts = [one.ip for one in pod.status.pod_ips] or [pod.status.pod_ip]
    key = PodKey(namespace=pod.metadata.namespace, name=pod.metadata.name)
    addresses = addresses_of(texts)
    return KubePod(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        node=pod.spec.node_name,
        phase=pod.status.phase,
        addresses=addresses,
        is_host_network=pod.spec.host_network,
        more_addresses=tuple(one for one in of_enis.get(key, ()) if one not in addresses),
    )


def _node(node: Node) -> KubeNode:
    conditions = node.status.conditions
    wrong = (
        f"{one.type}={one.status}: {one.message}"
        for one in conditions
        if (one.status == "True") is not (one.type in _GOOD_WHEN_TRUE)
    )
    return KubeNode(
        name=node.metadata.name,
        addresses=addresses_of(one.address for one in node.status.addresses),
        is_ready=any(one.type == "Ready" and one.status == "True" for one in conditions),
        provider_id=node.spec.provider_id,
        conditions=tuple(wrong),
    )


async def _services(client: KubeClient) -> tuple[KubeService, ...]:
    try:
        services = (await client.list(SERVICES)).items
        slices = (await client.list(SLICES)).items
    except (UsageError, RightsError, msgspec.MsgspecError):
        return ()  # not all servers have them, and not every identity may list them
    return tuple(_service(one, slices) for one in services)


def _service(service: dict[str, Any], slices: Iterable[dict[str, Any]]) -> KubeService:
    meta, spec = service["metadata"], service.get("spec", {})
    key = (meta.get("namespace", ""), meta["name"])
    endpoints = [
        text
        for one in slices
        if (one["metadata"].get("namespace", ""), _owner(one)) == key
        for endpoint in one.get("endpoints") or ()
        for text in endpoint.get("addresses") or ()
    ]
    return KubeService(
        namespace=key[0],
        name=key[1],
        cluster_ips=addresses_of(spec.get("clusterIPs") or [spec.get("clusterIP", "")]),
        ports=tuple(int(port["port"]) for port in spec.get("ports") or ()),
        endpoints=addresses_of(endpoints),
        node_ports=tuple(int(one["nodePort"]) for one in spec.get("ports") or () if _opens(one)),
    )


def _opens(port: dict[str, Any]) -> bool:
    return bool(port.get("nodePort"))


def _owner(one: dict[str, Any]) -> str:
    labels = one["metadata"].get("labels") or {}
    return str(labels.get("kubernetes.io/service-name", ""))


def addresses_of(texts: Iterable[str]) -> tuple[IPAddress, ...]:
    """Return the texts that are addresses: "None" and host names are among them."""
    found: list[IPAddress] = []
    for text in texts:
        with suppress(ValueError):
            found.append(ip_address(text))
    return tuple(found)
