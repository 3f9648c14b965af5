"""Where does a Service say that it is reached? In its status, as its clients and nodes read it.

Addresses are of mode VIP: packets come to pods with the client's address and the load balancer's
port, as kube-proxy's and our own short cuts need it. So a client in the cluster goes to a pod right
away, itself among them, and neither waits for the load balancer nor meets its limits. With an NLB
its addresses stand beside the name for that reason alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.controlplane.balancers.objects import BalancedService, Ingress
from terway.controlplane.ports import KubePort
from terway.kube.resource import Resource
from terway.loadbalancer.annotations import Settings
from terway.model.balancer import BalancerInstance

Entry = dict[str, str]
_MODE = "VIP"


def ingress_of(settings: Settings, instances: Iterable[BalancerInstance]) -> Iterator[Entry]:
    """Yield the entries of a Service's instances; the user's own name stands for all of them."""
    if settings.hostname:
        yield {"hostname": settings.hostname}
        return
    for one in instances:
        if one.hostname:
            yield {"hostname": one.hostname}
        yield from ({"ip": str(address), "ipMode": _MODE} for address in one.addresses)


def is_said(found: BalancedService, ingress: Iterable[Entry]) -> bool:
    """Return whether the status has these entries already."""
    return list(map(_entry, found.status.load_balancer.ingress or ())) == list(ingress)


def is_published(found: BalancedService, instance: BalancerInstance) -> bool:
    """Return whether the status leads to an instance already."""
    own = {instance.hostname, *map(str, instance.addresses)} - {""}
    held = found.status.load_balancer.ingress or ()
    return any(one.hostname in own or one.ip in own for one in held)


def _entry(held: Ingress) -> Entry:
    # A server before 1.29 knows no other mode, and does not keep it.
    mode = held.ip_mode or _MODE if held.ip else ""
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
