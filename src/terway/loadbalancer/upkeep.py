"""What of a Service is kept up while it is refused? The backends behind the listeners it has.

A word that nobody understands may be a misspelt one that the rest hangs on: without it an instance
of the intranet would be remade in the internet. So nothing is concluded from what such a Service
says, and nothing of its load balancers is made, changed or removed, other than whom they send to:
pods come and go all the same, and connections to one that is gone would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from terway.loadbalancer import steps as to
from terway.loadbalancer.plan import change_backends, has_mark
from terway.loadbalancer.values import Endpoint, Observed, Service
from terway.loadbalancer.wanted import Wanted, WantedListener, backends_of
from terway.model.address import Family
from terway.model.balancer import (
    Backend,
    BalancerInstance,
    BalancerProduct,
    Forwarding,
    Listener,
    ServerGroup,
)


def as_it_is(
    service: Service, endpoints: Sequence[Endpoint], holding: Wanted, observed: Observed
) -> Wanted | None:
    """Return `holding` with the listeners that it has, each with the backends that it is to have.

    None where no listener of the Service's is there: nothing is served that could be kept up.
    """
    instance = observed.instance
    if instance is None:
        return None
    families = _families(service, instance)
    own = [one for one in endpoints if one.address.version in {family.value for family in families}]
    listeners = tuple(_listeners(service, own, holding, observed))
    return replace(holding, families=families, listeners=listeners) if listeners else None


def plan_upkeep(wanted: Wanted, observed: Observed) -> tuple[to.Step, ...]:
    """Return the changes of backends that can be made now; none when all is well."""
    groups = {one.name: one for one in observed.groups}
    found = ((groups[one.group_name], one.backends) for one in wanted.listeners)
    return tuple(
        step
        for group, backends in found
        if group.is_ready
        for step in change_backends(group, backends)
    )


def _families(service: Service, instance: BalancerInstance) -> tuple[Family, ...]:
    if service.product is BalancerProduct.NLB:
        return service.families
    versions = {address.version for address in instance.addresses}
    return tuple(one for one in Family if one.value in versions)


def _listeners(
    service: Service, endpoints: Sequence[Endpoint], holding: Wanted, observed: Observed
) -> Iterator[WantedListener]:
    groups = {one.id: one for one in observed.groups if has_mark(one.name, holding.mark)}
    for listener in observed.listeners:
        group = groups.get(listener.wish.group_id)
        http = listener.wish.http
        leads_on = http is not None and http.redirect_port  # then it sends to no pod
        if group is not None and not leads_on:
            yield _listener(service, endpoints, listener, group)


def _listener(
    service: Service, endpoints: Sequence[Endpoint], listener: Listener, group: ServerGroup
) -> WantedListener:
    return WantedListener(
        protocol=listener.wish.protocol,
        port=listener.wish.port,
        description=listener.wish.description,
        group_name=group.name,
        backends=_backends(service, endpoints, listener, group),
        forwarding=listener.wish.forwarding or group.forwarding or Forwarding(),
    )


def _backends(
    service: Service, endpoints: Sequence[Endpoint], listener: Listener, group: ServerGroup
) -> tuple[Backend, ...]:
    """Return who is to be behind a listener.

    At a port that the Service has no more those who are, as long as they serve.
    """
    port = next(
        (one for one in service.ports if (one.protocol, one.port) == listener.wish.place), None
    )
    if port is None:
        serving = {one.address for one in endpoints if one.serves}
        return tuple(one for one in group.backends if one.address in serving)
    return backends_of(port, endpoints, of_addresses=_is_of_addresses(service, group))


def _is_of_addresses(service: Service, group: ServerGroup) -> bool:
    """Return whether a group knows its backends by their address alone, as far as one can see."""
    if service.product is not BalancerProduct.NLB:
        return False
    return bool(group.backends) and all(one.eni_id is None for one in group.backends)
