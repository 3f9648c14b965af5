"""How does one wait for what a cluster makes of a Service: addresses, and endpoints?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import ObjectKey, Resource
from terway.lab.world.waiting import PATIENCE_S, wait_until
from terway.model.address import IPAddress

Json = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"

SERVICES: Resource[Json] = Resource(
    group="", version="v1", plural="services", kind="Service", namespaced=True, read_as=dict
)
ENDPOINT_SLICES: Resource[Json] = Resource(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    kind="EndpointSlice",
    namespaced=True,
    read_as=dict,
)


async def wait_load_balancer(
    client: KubeClient, name: str, *, namespace: str = "default", timeout_s: float = PATIENCE_S
) -> tuple[IPAddress, ...]:
    """Return the addresses of a load balancer, in the order of the Service's families."""
    key = ObjectKey(namespace=namespace, name=name)

    def trouble(found: Mapping[ObjectKey, Json]) -> str:
        ready = key in found and _ingress(found[key])
        return "" if ready else f"Service {key} has no address of a load balancer"

    found = await wait_until(client, SERVICES, trouble, timeout_s=timeout_s, namespace=namespace)
    # A load balancer with a name has that beside its addresses.
    return tuple(ip_address(one["ip"]) for one in _ingress(found[key]) if one.get("ip"))


async def wait_endpoints(
    client: KubeClient,
    name: str,
    is_as_wished: Callable[[list[Json]], bool],
    *,
    namespace: str = "default",
    timeout_s: float = PATIENCE_S,
) -> list[Json]:
    """Return the endpoints of all slices of a Service as soon as they are as wished."""

    def trouble(found: Mapping[ObjectKey, Json]) -> str:
        held = endpoints_in(found.values(), name)
        return "" if is_as_wished(held) else f"the endpoints of Service {name} are {held}"

    found = await wait_until(
        client, ENDPOINT_SLICES, trouble, timeout_s=timeout_s, namespace=namespace
    )
    return endpoints_in(found.values(), name)


def endpoints_in(slices: Iterable[Json], name: str) -> list[Json]:
    """Return the endpoints of a Service in slices of any."""
    return [
        endpoint
        for one in slices
        if one["metadata"].get("labels", {}).get(SERVICE_NAME) == name
        for endpoint in one.get("endpoints") or ()
    ]


def _ingress(service: Json) -> list[Json]:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return list(balancer.get("ingress") or ())
