"""Where does a Service say that it is reached? In its status, as its clients and nodes read it.

Addresses are of mode VIP: packets come to pods with the client's address and the load balancer's
port, as kube-proxy's and our own short cuts need it. So a client in the cluster goes to a pod right
away, itself among them, and neither waits for the load balancer nor meets its limits. With an NLB
its addresses stand beside the name for that reason alone.

With a port of HTTP or HTTPS they are of mode Proxy: pods speak no TLS, and would get no
X-Forwarded-For. Then whoever is inside goes to the load balancer, as all do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.controlplane.balancers.objects import BalancedService, Ingress
from terway.controlplane.ports import KubePort
from terway.kube.resource import Resource
from terway.loadbalancer.annotations import Settings
from terway.model.balancer import BalancerInstance

Entry = dict[str, str]
_VIP, _PROXY = "VIP", "Proxy"


def ingress_of(settings: Settings, instances: Iterable[BalancerInstance]) -> Iterator[Entry]:
    """Yield the entries of a Service's instances; the user's own name stands for all of them."""
    if settings.hostname:
        yield {"hostname": settings.hostname}
        return
    is_proxied = any(protocol.is_http for protocol, _ in settings.web.protocols)
    mode = _PROXY if is_proxied else _VIP
    for one in instances:
        if one.hostname:
            yield {"hostname": one.hostname}
        yield from ({"ip": str(address), "ipMode": mode} for address in one.addresses)


def is_said(found: BalancedService, ingress: Iterable[Entry]) -> bool:
    """Return whether the status has these entries already."""
    wanted = list(ingress)
    # A server before 1.29 knows no modes, and does not keep them.
    mode = next((one["ipMode"] for one in wanted if "ipMode" in one), "")
    held = found.status.load_balancer.ingress or ()
    return [_entry(one, mode) for one in held] == wanted


def is_published(found: BalancedService, instance: BalancerInstance) -> bool:
    """Return whether the status leads to an instance already."""
    own = {instance.hostname, *map(str, instance.addresses)} - {""}
    held = found.status.load_balancer.ingress or ()
    return any(one.hostname in own or one.ip in own for one in held)


def _entry(held: Ingress, default_mode: str) -> Entry:
    mode = held.ip_mode or default_mode if held.ip else ""
    said = (("ip", held.ip), ("hostname", held.hostname), ("ipMode", mode))
    return {name: value for name, value in said if value}


async def write_ingress(
    client: KubePort,
    services: Resource[BalancedService],
    found: BalancedService,
    ingress: list[Entry],
) -> None:
    """Have the status say this. Raises as the client does."""
    await client.patch(
        services,
        found.metadata.name,
        {"status": {"loadBalancer": {"ingress": ingress}}},
        namespace=found.metadata.namespace,
        subresource="status",
    )
