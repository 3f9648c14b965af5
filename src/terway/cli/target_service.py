"""What becomes of a packet for a service: who translates it on this node, and to which endpoint?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.cli.hops import RESTART_AGENT, Hop, fail, ok, unknown
from terway.cli.snapshot import KubeService, Snapshot
from terway.cli.snapshot_ebpf import BackendView, FrontendView
from terway.cli.table import counted
from terway.model.address import IPAddress
from terway.model.errors import UsageError

_TRANSLATOR = "kube-proxy"
_WHERE = "data path"
_WITH_PORTS = frozenset(("tcp", "udp", "sctp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a packet is to go. `hops` are what happens before it goes there: a translation.

    `of` are the families that the hops are about, one for each; none: about all.
    `services` are the addresses that the pod itself sends to, where the node translates them, and
    `service_ports` the ports that they have.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    port: int | None = None
    hops: tuple[Hop, ...] = ()
    of: tuple[int, ...] = ()
    services: tuple[IPAddress, ...] = ()
    service_ports: tuple[int, ...] = ()

    def service(self, address: IPAddress) -> IPAddress | None:
        """Return the service's address in the family of one of `addresses`."""
        return next((one for one in self.services if one.version == address.version), None)

    def hops_of(self, family: int) -> tuple[Hop, ...]:
        """Return the hops of a packet of a family."""
        if not self.of:
            return self.hops
        return tuple(hop for hop, of in zip(self.hops, self.of, strict=True) if of == family)


def service_target(
    snapshot: Snapshot, service: KubeService, port: int | None, protocol: str
) -> Target:
    """Return a service as an endpoint in each family, after its translation.

    Raises UsageError where it has no address of its own, or several ports and none was named.
    """
    if not service.cluster_ips:
        text = "is headless: its name leads to the endpoints themselves; ask about one of its pods"
        raise UsageError(f"service {service} {text}", field="DST")
    if snapshot.ebpf is not None and snapshot.ebpf.does_services:
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
    name = f"a service's {_asked(found)}"
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
    """Return a service as the data path's own maps have it.

    Raises UsageError where it has several ports, and none of them was named.
    """
    assert snapshot.ebpf is not None
    name = f"service {service}"
    wanted = port or _only_port(service, protocol)
    views = [snapshot.ebpf.frontend(one, wanted, protocol) for one in service.cluster_ips]
    found = [one for one in views if one is not None]
    if not found:
        text = "not looked for in the maps; packets of other protocols are not translated"
        return _whole(service, name, port, unknown(_WHERE, name, text))
    chosen = {one.address: chosen_of(one) for one in found}
    ends = [address if one is None else one.address for address, one in chosen.items()]
    return Target(
        name=name,
        addresses=tuple(ends),
        port=next((one.port for one in chosen.values() if one is not None), wanted),
        hops=tuple(_hops(service, name, found, protocol)),
        of=tuple(one.address.version for one in found),
        services=service.cluster_ips if any(chosen.values()) else (),
        service_ports=service.ports,
    )


def _only_port(service: KubeService, protocol: str) -> int | None:
    ports = sorted(set(service.ports))
    if len(ports) > 1 and protocol in _WITH_PORTS:
        said = f"service {service} has ports {', '.join(map(str, ports))}: which of them?"
        raise UsageError(f"{said} write svc/{service}:{ports[0]}", field="DST")
    return ports[0] if len(ports) == 1 else None


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
            yield _unknown_port(service, name, one, protocol)
        elif not one.backends:
            yield fail(_WHERE, name, _without(one, service), _look(service))
        else:
            yield _choice_hop(name, one)


def _unknown_port(service: KubeService, name: str, one: FrontendView, protocol: str) -> Hop:
    text = f"{one.address} has no port {one.port}/{protocol}"
    look = f"kubectl -n {service.namespace} get service {service.name}"
    if one.port in service.ports:
        text = f"{text} in the data path, which has not heard of it"
        return fail(_WHERE, name, text, f"{look}; {RESTART_AGENT}")
    ports = ", ".join(map(str, sorted(set(service.ports))))
    return fail(_WHERE, name, f"{text}: the service's are {ports}", f"ask for one of them; {look}")


def _without(frontend: FrontendView, service: KubeService) -> str:
    text = f"{_asked(frontend)} has no endpoint that pods of this node may reach"
    if service.endpoints:
        return f"{text}: internalTrafficPolicy Local, and none is on this node"
    return f"{text}: no ready pod matches its selector"


def _look(service: KubeService) -> str:
    return f"kubectl -n {service.namespace} describe service {service.name}"


def _choice_hop(name: str, frontend: FrontendView) -> Hop:
    asked = _asked(frontend)
    if not frontend.is_in_ranges:
        text = f"{asked} lets in its loadBalancerSourceRanges only, and the pod is in none of them"
        return fail(_WHERE, name, text, "add the pod's range to the Service's")
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


def _asked(frontend: FrontendView) -> str:
    return _end(frontend.address, frontend.port)


def _end(address: IPAddress, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _connections(frontend: FrontendView, chosen: BackendView) -> str:
    """Return which endpoints the pod's connections have, and which a new one gets."""
    end = _end(chosen.address, chosen.port)
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
    cluster = " ".join(map(str, service.cluster_ips))
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
        remedy = f"kubectl -n {service.namespace} get endpointslices"
        hop = fail(where, what, f"{cluster}: no endpoint is of its family", remedy)
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
