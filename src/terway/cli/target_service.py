"""What becomes of a packet for a service: who translates it on this node, and to which endpoint?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.cli.hops import RESTART_AGENT, Hop, fail, ok, unknown
from terway.cli.snapshot import KubeService, Snapshot
from terway.cli.snapshot_ebpf import BackendView, FrontendView
from terway.cli.table import counted
from terway.model.address import IPAddress

_TRANSLATOR = "kube-proxy"
_WHERE = "data path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a packet is to go. `hops` are what happens before it goes there: a translation.

    `services` are the addresses that the pod itself sends to, where the node translates them, and
    `service_ports` the ports that they have.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    port: int | None = None
    hops: tuple[Hop, ...] = ()
    services: tuple[IPAddress, ...] = ()
    service_ports: tuple[int, ...] = ()

    def service(self, address: IPAddress) -> IPAddress | None:
        """Return the service's address in the family of one of `addresses`."""
        return next((one for one in self.services if one.version == address.version), None)


def service_target(
    snapshot: Snapshot, service: KubeService, port: int | None, protocol: str
) -> Target:
    """Return a service as an endpoint in each family, after its translation."""
    if snapshot.ebpf is not None and snapshot.ebpf.does_services and service.cluster_ips:
        return _of_datapath(snapshot, service, port, protocol)
    return _of_others(snapshot, service, port)


def address_target(
    snapshot: Snapshot, address: IPAddress, port: int | None, protocol: str
) -> Target | None:
    """Return what the data path makes of an address that is no ClusterIP; None: nothing.

    An external address, one of a load balancer, or a node port.
    """
    ebpf = snapshot.ebpf
    found = ebpf.frontend(address, port, protocol) if ebpf is not None else None
    if found is None or not found.is_known:
        return None
    name = f"a service's {address}:{port}"
    hop = _choice_hop(name, found)
    chosen = chosen_of(found)
    return Target(
        name=name,
        addresses=(address,) if chosen is None else (chosen.address,),
        port=port if chosen is None else chosen.port,
        hops=(hop,),
        services=(address,),
    )


def chosen_of(frontend: FrontendView) -> BackendView | None:
    """Return the backend that a connection of the pod has, else one that a new one may get."""
    had = {one.backend for one in frontend.choices if one.is_there}
    ready = [one for one in frontend.backends if not one.is_terminating]
    for one in (*frontend.backends, *ready):
        if one.number in had:
            return one
    return next(iter(ready or frontend.backends), None)


def _of_datapath(
    snapshot: Snapshot, service: KubeService, port: int | None, protocol: str
) -> Target:
    """Return a service as the data path's own maps have it."""
    assert snapshot.ebpf is not None
    name = f"service {service}"
    wanted = port or (service.ports[0] if len(service.ports) == 1 else None)
    views = [snapshot.ebpf.frontend(one, wanted, protocol) for one in service.cluster_ips]
    found = [one for one in views if one is not None]
    if not found:
        ports = ", ".join(map(str, service.ports))
        hop = unknown(_WHERE, name, f"which of its ports? write DST:PORT; it has {ports}")
        return _whole(service, name, port, hop)
    hops = tuple(_hops(service, name, found, protocol))
    chosen = [one for one in map(chosen_of, found) if one is not None]
    if not chosen:
        return _whole(service, name, wanted, *hops)
    return Target(
        name=name,
        addresses=tuple(one.address for one in chosen),
        port=chosen[0].port,
        hops=hops,
        services=service.cluster_ips,
        service_ports=service.ports,
    )


def _whole(service: KubeService, name: str, port: int | None, *hops: Hop) -> Target:
    """Return a service that leads to no endpoint."""
    return Target(
        name=name,
        addresses=service.cluster_ips,
        port=port,
        hops=hops,
        service_ports=service.ports,
    )


def _hops(
    service: KubeService, name: str, found: Iterable[FrontendView], protocol: str
) -> Iterator[Hop]:
    for one in found:
        if not one.is_known:
            text = f"{one.address} has no port {one.port}/{protocol} in the data path"
            if one.port in service.ports:
                text = f"{text}, which has not heard of it"
            remedy = f"kubectl -n {service.namespace} get service {service.name}; {RESTART_AGENT}"
            yield fail(_WHERE, name, text, remedy)
        elif not one.backends:
            yield fail(_WHERE, name, _without(one, service), _look(service))
        else:
            yield _choice_hop(name, one)


def _without(frontend: FrontendView, service: KubeService) -> str:
    text = f"{frontend.address}:{frontend.port} has no endpoint that pods of this node may reach"
    if service.endpoints:
        return f"{text}: internalTrafficPolicy Local, and none is on this node"
    return f"{text}: no ready pod matches its selector"


def _look(service: KubeService) -> str:
    return f"kubectl -n {service.namespace} describe service {service.name}"


def _choice_hop(name: str, frontend: FrontendView) -> Hop:
    asked = f"{frontend.address}:{frontend.port}"
    if not frontend.backends:
        text = f"{asked} has no endpoint that pods of this node may reach"
        return fail(_WHERE, name, text, "kubectl get endpointslices -A")
    chosen = chosen_of(frontend)
    assert chosen is not None
    ends = counted(len(frontend.backends), "endpoint")
    ending = sum(one.is_terminating for one in frontend.backends)
    ends += f", {ending} of them terminating" if ending else ""
    affinity = ", the same for a client" if frontend.has_affinity else ""
    return ok(_WHERE, name, f"{asked} has {ends}{affinity}; {_connections(frontend, chosen)}")


def _connections(frontend: FrontendView, chosen: BackendView) -> str:
    """Return which endpoints the pod's connections have, and which a new one gets."""
    end = f"{chosen.address}:{chosen.port}"
    there = [one for one in frontend.choices if one.is_there]
    gone = len(frontend.choices) - len(there)
    lost = f"; {counted(gone, 'connection')} had an endpoint that went" if gone else ""
    if not there:
        only = len(frontend.backends) == 1
        text = f"a new connection gets {end}" if only else f"a new connection gets any, say {end}"
        return f"{text}{lost}"
    return f"the pod has {counted(len(there), 'connection')}, one of them to {end}{lost}"


def _of_others(snapshot: Snapshot, service: KubeService, port: int | None) -> Target:
    """Return a service as the first endpoint of each family, which somebody else translates to."""
    where, what = "node", f"service {service}"
    cluster = " ".join(map(str, service.cluster_ips)) or "no ClusterIP"
    host = snapshot.host
    if not service.endpoints:
        text = f"{cluster} has no endpoints: no ready pod matches its selector"
        return _whole(service, what, port, fail(where, what, text, _look(service)))
    if host is not None and _TRANSLATOR not in host.programs:
        text = f"{cluster}: nobody translates it here; {_TRANSLATOR} does not run on this node"
        remedy = f"kubectl -n kube-system get pods | grep {_TRANSLATOR}"
        return _whole(service, what, port, fail(where, what, text, remedy))
    families = [one.version for one in service.cluster_ips]
    chosen = {one.version: one for one in reversed(service.endpoints)}
    ends = tuple(chosen[one] for one in sorted(chosen) if one in families)
    if not ends:
        text = f"{cluster}: no endpoint is of its family"
        if not service.cluster_ips:
            text = "it is headless: its name leads to the endpoints themselves; ask about a pod"
        remedy = f"kubectl -n {service.namespace} get endpointslices"
        hop = fail(where, what, text, remedy)
        return Target(name=what, addresses=service.endpoints, port=port, hops=(hop,))
    text = f"{_TRANSLATOR} translates {cluster} to an endpoint, for example {ends[0]}"
    return Target(
        name=what,
        addresses=ends,
        port=port,
        hops=(ok(where, what, text),),
        services=service.cluster_ips,
        service_ports=service.ports,
    )
