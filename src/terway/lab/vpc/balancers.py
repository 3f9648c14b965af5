"""The load balancers of a VPC: part of its state, and what the map of listeners must hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from terway.lab.vpc.contract import (
    LISTENER,
    LISTENER_BACKENDS,
    LISTENER_KEY,
    family_number,
    pack_address,
    pack_port,
)
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.state import Balancer, Listener, Prober, VpcState
from terway.model.address import family_of
from terway.model.errors import UsageError
from terway.model.ids import VpcId

_PROTOCOLS = (6, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """The load balancers of a lab, and from where they ask for health: beside the cloud's state.

    Nothing in the cloud's API speaks of them: a cluster's controller makes them. Without a prober
    there are none.
    """

    balancers: tuple[Balancer, ...] = ()
    prober: Prober | None = None


def balanced(state: VpcState, balancing: Balancing) -> VpcState:
    """Return `state` with the load balancers in it; those of a VPC that is gone are not."""
    vpcs = {one.vpc_id for one in state.vswitches}
    prober = balancing.prober
    if prober is None or prober.vpc_id not in vpcs:
        return state
    asking = () if prober.address in state.services else (prober.address,)
    return replace(
        state,
        balancers=tuple(one for one in balancing.balancers if one.vpc_id in vpcs),
        prober=prober,
        services=(*state.services, *asking),
    )


def balancers_of(state: VpcState, vpc_id: VpcId) -> Iterator[Balancer]:
    """Yield the load balancers of a VPC."""
    return (one for one in state.balancers if one.vpc_id == vpc_id)


def listener_entries(state: VpcState, numbers: Numbers) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of all load balancers."""
    for balancer in state.balancers:
        for listener in balancer.listeners:
            yield _entry(balancer, listener, numbers)


def _entry(balancer: Balancer, listener: Listener, numbers: Numbers) -> tuple[bytes, bytes]:
    key = LISTENER_KEY.pack(
        vpc=numbers.vpc(balancer.vpc_id),
        family=family_number(family_of(balancer.address)),
        protocol=listener.protocol,
        address=pack_address(balancer.address),
        port=pack_port(listener.port),
    )
    packed = b"".join(map(pack_address, listener.backends))
    return key, LISTENER.pack(
        count=len(listener.backends), port=pack_port(listener.backend_port), backends=packed
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
        if len(one.backends) > LISTENER_BACKENDS:
            count = len(one.backends)
            raise _refusal("backends", f"{where}: {count} backends; {LISTENER_BACKENDS} have room")
    _check_family(balancer, [backend for one in balancer.listeners for backend in one.backends])


def _check_family(balancer: Balancer, backends: Iterable[object]) -> None:
    for one in (*backends, *balancer.members):
        if getattr(one, "version", 0) != balancer.address.version:
            text = f"load balancer {balancer.address}: backend {one} is of the other family"
            raise _refusal("backends", text)


def _refusal(field: str, text: str) -> UsageError:
    return UsageError(f"VPC state refused: {text}", field=field)
