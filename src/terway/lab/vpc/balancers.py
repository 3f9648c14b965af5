"""The load balancers of a VPC: part of its state, and what the map of listeners must hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

from terway.lab.vpc.contract import (
    ACCESS_KEY,
    ACCESS_PREFIX_BITS,
    BACKEND,
    LISTENER,
    LISTENER_BACKENDS,
    LISTENER_KEY,
    BackendFlag,
    ListenerFlag,
    family_number,
    pack_address,
    pack_port,
    pack_u32,
)
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.scheduling import is_open, slots_of
from terway.lab.vpc.state import (
    Balancer,
    Listener,
    Prober,
    Scheduler,
    Server,
    VpcState,
)
from terway.model.address import IPAddress, IPNetwork, family_of
from terway.model.errors import UsageError
from terway.model.ids import VpcId

_PROTOCOLS = (6, 17)
_SCHEDULED = {
    Scheduler.TURNS: ListenerFlag.BY_TURNS,
    Scheduler.SOURCE: ListenerFlag.BY_SOURCE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """The load balancers of a lab, and from where they ask for health: beside the cloud's state.

    Nothing in the cloud's API speaks of them: a cluster's controller makes them. Without a prober
    there are none.
    """

    balancers: tuple[Balancer, ...] = ()
    prober: Prober | None = None


def merged(parts: Iterable[Balancing]) -> Balancing:
    """Return all load balancers of several who make them; they share the prober."""
    held = tuple(parts)
    return Balancing(
        balancers=tuple(balancer for one in held for balancer in one.balancers),
        prober=_widest([one.prober for one in held if one.prober is not None]),
    )


def _widest(probers: list[Prober]) -> Prober | None:
    """Return the prober that has most addresses."""
    return max(probers, key=lambda one: len(one.addresses), default=None)


def balanced(state: VpcState, balancing: Balancing) -> VpcState:
    """Return `state` with the load balancers in it; those of a VPC that is gone are not."""
    vpcs = {one.vpc_id for one in state.vswitches}
    prober = balancing.prober
    if prober is None or prober.vpc_id not in vpcs:
        return state
    asking = tuple(one for one in prober.addresses if one not in state.services)
    return replace(
        state,
        balancers=tuple(one for one in balancing.balancers if one.vpc_id in vpcs),
        prober=prober,
        services=(*state.services, *asking),
    )


def balancers_of(state: VpcState, vpc_id: VpcId) -> Iterator[Balancer]:
    """Yield the load balancers of a VPC."""
    return (one for one in state.balancers if one.vpc_id == vpc_id)


def served_addresses(state: VpcState) -> tuple[IPAddress, ...]:
    """Return all that the provider's services answer at: theirs, and load balancers' for them."""
    proxied = (
        one.address
        for one in state.balancers
        if any(listener.is_proxied for listener in one.listeners)
    )
    return tuple(dict.fromkeys((*state.services, *proxied)))


def listener_entries(state: VpcState, numbers: Numbers) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of all load balancers."""
    for balancer in state.balancers:
        for listener in balancer.listeners:
            yield _entry(balancer, listener, numbers)


def access_entries(state: VpcState) -> Iterator[tuple[bytes, bytes]]:
    """Yield the ranges of all access lists; equal lists are one."""
    for balancer in state.balancers:
        for listener in balancer.listeners:
            ranges = _ranges(balancer, listener)
            for network in ranges:
                key = ACCESS_KEY.pack(
                    prefixlen=ACCESS_PREFIX_BITS + network.prefixlen,
                    list=_access_number(ranges),
                    source=pack_address(network.network_address),
                )
                yield key, pack_u32(1)


def _ranges(balancer: Balancer, listener: Listener) -> tuple[IPNetwork, ...]:
    """Return the ranges that clients of the load balancer can be of: those of its family."""
    ranges = listener.access.ranges if listener.access else ()
    return tuple(one for one in ranges if one.version == balancer.address.version)


def _access_number(ranges: tuple[IPNetwork, ...]) -> int:
    """Return what a list is called: a digest of what is in it."""
    text = repr(sorted(map(str, ranges))).encode()
    return int.from_bytes(blake2b(text, digest_size=4).digest(), "big")


def _entry(balancer: Balancer, listener: Listener, numbers: Numbers) -> tuple[bytes, bytes]:
    key = LISTENER_KEY.pack(
        vpc=numbers.vpc(balancer.vpc_id),
        family=family_number(family_of(balancer.address)),
        protocol=listener.protocol,
        address=pack_address(balancer.address),
        port=pack_port(listener.port),
    )
    servers = listener.all_servers
    slots = slots_of(listener)
    return key, LISTENER.pack(
        count=len(servers),
        slots_used=len(slots),
        flags=_flags(listener),
        persistence_s=listener.persistence_s,
        access=_access_number(_ranges(balancer, listener)),
        slots=bytes(slots),
        backends=b"".join(map(_pack_server, servers)),
    )


def _flags(listener: Listener) -> ListenerFlag:
    flags = _SCHEDULED.get(listener.scheduler, ListenerFlag(0))
    if listener.cuts:
        flags |= ListenerFlag.CUTS
    if listener.is_proxied:
        flags |= ListenerFlag.PROXIED
    if listener.access is not None:
        flags |= ListenerFlag.ALLOWS if listener.access.is_allowed else ListenerFlag.REFUSES
    return flags


def _pack_server(server: Server) -> bytes:
    flags = BackendFlag(0)
    if server.is_healthy:
        flags |= BackendFlag.HEALTHY
    if is_open(server):
        flags |= BackendFlag.OPEN
    return BACKEND.pack(
        address=pack_address(server.address), port=pack_port(server.port), flags=flags
    )


def check_balancers(state: VpcState) -> None:
    """Raise UsageError, naming field and value, for the first load balancer that cannot be."""
    vpcs = {one.vpc_id for one in state.vswitches}
    for balancer in state.balancers:
        if balancer.vpc_id not in vpcs:
            raise _refusal("balancers", f"{balancer.address}: no vSwitch in {balancer.vpc_id}")
        _check_listeners(balancer)
    if state.prober is not None and state.prober.address not in state.services:
        raise _refusal("prober", f"{state.prober.address} is no address of the services")


def _check_listeners(balancer: Balancer) -> None:
    where = f"load balancer {balancer.address}"
    seen: set[tuple[int, int]] = set()
    for one in balancer.listeners:
        if one.protocol not in _PROTOCOLS:
            raise _refusal("protocol", f"{where}: protocol {one.protocol}; TCP or UDP is possible")
        if (key := (one.protocol, one.port)) in seen:
            raise _refusal("listeners", f"{where} listens twice at port {one.port}")
        seen.add(key)
        if (count := len(one.all_servers)) > LISTENER_BACKENDS:
            raise _refusal("backends", f"{where}: {count} backends; {LISTENER_BACKENDS} have room")
    _check_family(
        balancer, [one.address for held in balancer.listeners for one in held.all_servers]
    )


def _check_family(balancer: Balancer, backends: Iterable[object]) -> None:
    for one in (*backends, *balancer.members):
        if getattr(one, "version", 0) != balancer.address.version:
            text = f"load balancer {balancer.address}: backend {one} is of the other family"
            raise _refusal("backends", text)


def _refusal(field: str, text: str) -> UsageError:
    return UsageError(f"VPC state refused: {text}", field=field)
