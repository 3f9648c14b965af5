"""What do the cloud's load balancers forward, to whom? The records of both products as one.

Pure: the same records give the same listeners. Who is healthy is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from terway.lab.cloud.balancer_guard import admitted_sources
from terway.lab.cloud.balancer_records import (
    ClbListenerRecord,
    ClbRecord,
    HealthCheckRecord,
    NlbListenerRecord,
    NlbRecord,
    ServerRecord,
)
from terway.lab.cloud.http_view import RequestHandling, request_handling
from terway.lab.cloud.state import State
from terway.model.address import IPAddress, IPNetwork
from terway.model.ids import VpcId

PROTOCOLS = {"tcp": 6, "udp": 17, "http": 6, "https": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose packets are taken: those of `ranges` (`is_allowed`), or all but those."""

    is_allowed: bool
    ranges: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedServer:
    """A backend with its address in the VPC."""

    address: IPAddress
    port: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingListener:
    """A listener of either product, at one address. `id` is the cloud's name for its health."""

    id: str
    vpc_id: VpcId
    address: IPAddress
    protocol: int
    port: int
    scheduler: str
    check: HealthCheckRecord
    servers: tuple[ForwardedServer, ...]
    persistence_s: int = 0
    drain_s: int | None = None  # None: connections stay where they are as long as they live
    access: Access | None = None
    requests: RequestHandling | None = None  # of HTTP and HTTPS


def server_addresses(state: State, server: ServerRecord) -> tuple[IPAddress, ...]:
    """Return the addresses a server has now: an instance's primary ENI's, or the one it names."""
    if server.kind.lower() == "ecs":
        instance = state.instances.get(server.server_id)
        eni = state.enis.get(instance.primary_eni_id) if instance else None
        return (eni.ipv4[0], *eni.ipv6[:1]) if eni else ()
    return (ip_address(server.ip),) if server.ip else ()


def server_address(state: State, server: ServerRecord, *, version: int) -> IPAddress | None:
    """Return a server's address of an IP version, if it has one."""
    found = server_addresses(state, server)
    return next((one for one in found if one.version == version), None)


def forwarding_listeners(state: State, *, now: float) -> tuple[ForwardingListener, ...]:
    """Return what listens in all VPCs, in the order of creation."""
    held = state.balancing
    clbs = (
        one
        for listener in held.clb_listeners.values()
        for one in _of_clb(state, held.clbs[listener.balancer_id], listener)
    )
    nlbs = (
        one
        for listener in held.nlb_listeners.values()
        for one in _of_nlb(state, held.nlbs[listener.balancer_id], listener, now)
    )
    return (*clbs, *nlbs)


def standing_addresses(state: State, *, now: float) -> tuple[tuple[VpcId, IPAddress], ...]:
    """Return the addresses of all load balancers, where they can be reached; they answer pings."""
    found = [
        (vpc_id, clb.address)
        for clb in state.balancing.clbs.values()
        for vpc_id in _vpcs(state, clb.vpc_id)
    ]
    found += [
        (nlb.vpc_id, address)
        for nlb in state.balancing.nlbs.values()
        if nlb.ready_at <= now
        for address in nlb_addresses(nlb)
    ]
    return tuple(dict.fromkeys(found))


def _vpcs(state: State, vpc_id: VpcId | None) -> tuple[VpcId, ...]:
    """Return where an instance can be reached: one of the internet everywhere."""
    return (vpc_id,) if vpc_id else tuple(one.id for one in state.vpcs.values())


def nlb_addresses(nlb: NlbRecord) -> Iterator[IPAddress]:
    """Iterate over the addresses of an NLB instance in all zones."""
    for zone in nlb.zones:
        yield zone.private_ipv4
        yield from (zone.public_ipv4,) if zone.public_ipv4 else ()
        yield from (zone.ipv6,) if zone.ipv6 else ()


def _of_clb(
    state: State, clb: ClbRecord, listener: ClbListenerRecord
) -> Iterator[ForwardingListener]:
    group = state.balancing.vserver_groups.get(listener.group_id)
    leads_on = listener.http is not None and bool(listener.http.redirect_port)
    if (group is None and not leads_on) or not listener.is_running or not clb.is_active:
        return
    for vpc_id in _vpcs(state, clb.vpc_id):
        yield ForwardingListener(
            id=listener.id,
            vpc_id=vpc_id,
            address=clb.address,
            protocol=PROTOCOLS[listener.protocol],
            port=listener.port,
            scheduler=listener.scheduler,
            check=listener.check,
            servers=_servers(state, group.servers if group else (), clb.address.version),
            persistence_s=listener.persistence_s,
            drain_s=listener.drain_s if listener.is_drained else None,
            access=_access(state, listener),
            requests=request_handling(state.balancing, listener),
        )


def _access(state: State, listener: ClbListenerRecord) -> Access | None:
    acl = state.balancing.acls.get(listener.acl_id)
    if acl is None or not listener.is_acl_on:
        return None
    ranges = tuple(one for one, _ in acl.entries)
    return Access(is_allowed=listener.acl_type == "white", ranges=ranges)


def _of_nlb(
    state: State, nlb: NlbRecord, listener: NlbListenerRecord, now: float
) -> Iterator[ForwardingListener]:
    group = state.balancing.server_groups.get(listener.group_id)
    if group is None or not listener.is_running or nlb.ready_at > now:
        return
    for address in nlb_addresses(nlb):
        yield ForwardingListener(
            id=listener.id,
            vpc_id=nlb.vpc_id,
            address=address,
            protocol=PROTOCOLS[listener.protocol.lower()],
            port=listener.port,
            scheduler=group.scheduler,
            check=group.check,
            servers=_servers(state, group.servers, address.version),
            drain_s=group.drain_s if group.is_drained else None,
            access=_guard(state, nlb, listener, address.version),
        )


def _guard(
    state: State, nlb: NlbRecord, listener: NlbListenerRecord, version: int
) -> Access | None:
    ranges = admitted_sources(
        state, nlb, protocol=listener.protocol, port=listener.port, version=version
    )
    return None if ranges is None else Access(is_allowed=True, ranges=ranges)


def _servers(
    state: State, servers: tuple[ServerRecord, ...], version: int
) -> tuple[ForwardedServer, ...]:
    found = ((one, server_address(state, one, version=version)) for one in servers)
    return tuple(
        ForwardedServer(address=address, port=one.port, weight=one.weight)
        for one, address in found
        if address is not None
    )
