"""What must the fabric forward for the cloud's load balancers, now and for whom they let go? Pure.

A backend that is removed, or fails its health checks, gets nothing new. Where the listener drains,
its connections go on for the drain time, and are cut then; elsewhere they go on as they live.
Source: NLB help page "Health checks", CLB help page "Connection draining".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from terway.lab.cloud.balancer_records import HealthSeen
from terway.lab.cloud.balancer_view import ForwardingListener
from terway.lab.vpc.contract import LISTENER_BACKENDS
from terway.lab.vpc.state import Access, Balancer, Listener, Scheduler, Server
from terway.model.address import IPAddress
from terway.model.ids import VpcId

FORGOTTEN_S = 910.0  # an idle TCP connection of the fabric: nobody's answers come after that
_SCHEDULERS = {
    "wrr": Scheduler.TURNS,
    "rr": Scheduler.TURNS,
    "wlc": Scheduler.TURNS,  # the fabric does not count connections
    "sch": Scheduler.SOURCE,
    "tch": Scheduler.TUPLE,
}

At = tuple[VpcId, IPAddress]
"""Where a load balancer listens."""
Ends = tuple[IPAddress, int]
"""Address and port of a backend."""
Port = tuple[VpcId, IPAddress, int, int]
"""Of a listener: VPC, address, protocol, port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What is forwarded. `leaving`: until when backends keep the connections that they have."""

    balancers: tuple[Balancer, ...] = ()
    leaving: Mapping[Port, Mapping[Ends, float]] = field(default_factory=dict)
    listed: Mapping[Port, frozenset[Ends]] = field(default_factory=dict)  # not leaving

    def next_due(self) -> float | None:
        """Return when the next backend has left for good, None for never."""
        return min((at for held in self.leaving.values() for at in held.values()), default=None)


def carried(
    before: Carried,
    standing: Iterable[At],
    listeners: Iterable[ForwardingListener],
    health: HealthSeen,
    *,
    now: float,
) -> Carried:
    """Return what is to be forwarded, after `before`."""
    places = {port_of(one): one for one in listeners}
    leaving = {port: _leaving(before, port, one, health, now) for port, one in places.items()}
    listed = {port: _listed(one, health) for port, one in places.items()}
    return Carried(
        balancers=tuple(_balancer(at, places, leaving, health) for at in standing),
        leaving={port: held for port, held in leaving.items() if held},
        listed=listed,
    )


def port_of(listener: ForwardingListener) -> Port:
    """Return where a listener listens."""
    return listener.vpc_id, listener.address, listener.protocol, listener.port


def _listed(listener: ForwardingListener, health: HealthSeen) -> frozenset[Ends]:
    return frozenset(
        (one.address, one.port)
        for one in listener.servers
        if is_healthy(listener, (one.address, one.port), health) is not False
    )


def is_healthy(listener: ForwardingListener, ends: Ends, health: HealthSeen) -> bool | None:
    """Return whether a backend is healthy; who is not asked, is."""
    return health.of((listener.id, *ends)) if listener.check.is_on else True


def _leaving(
    before: Carried, port: Port, listener: ForwardingListener, health: HealthSeen, now: float
) -> dict[Ends, float]:
    """Return who has left, those who came back excepted, and until when that lasts."""
    patience_s = FORGOTTEN_S if listener.drain_s is None else float(listener.drain_s)
    left = before.listed.get(port, frozenset()) - _listed(listener, health)
    known = {**dict.fromkeys(left, now + patience_s), **before.leaving.get(port, {})}
    there = _listed(listener, health)
    return {ends: until for ends, until in known.items() if until > now and ends not in there}


def _balancer(
    at: At,
    places: Mapping[Port, ForwardingListener],
    leaving: Mapping[Port, Mapping[Ends, float]],
    health: HealthSeen,
) -> Balancer:
    mine = {port: one for port, one in places.items() if port[:2] == at}
    members = {one.address for listener in mine.values() for one in listener.servers}
    members |= {address for port in mine for address, _ in leaving[port]}
    return Balancer(
        vpc_id=at[0],
        address=at[1],
        listeners=tuple(_listener(one, leaving[port], health) for port, one in mine.items()),
        members=tuple(sorted(members, key=int)),
    )


def _listener(
    said: ForwardingListener, leaving: Mapping[Ends, float], health: HealthSeen
) -> Listener:
    if said.requests is not None:
        access = _access(said)
        return Listener(protocol=said.protocol, port=said.port, access=access, is_proxied=True)
    return Listener(
        protocol=said.protocol,
        port=said.port,
        servers=_servers(said, leaving, health)[:LISTENER_BACKENDS],
        scheduler=_SCHEDULERS.get(said.scheduler, Scheduler.TURNS),
        persistence_s=said.persistence_s,
        cuts=said.drain_s is not None,
        access=_access(said),
    )


def _access(said: ForwardingListener) -> Access | None:
    if said.access is None:
        return None
    return Access(is_allowed=said.access.is_allowed, ranges=said.access.ranges)


def _servers(
    said: ForwardingListener, leaving: Mapping[Ends, float], health: HealthSeen
) -> tuple[Server, ...]:
    """Return those who serve first: a listener has room for some only."""
    is_even = said.scheduler == "rr"
    there = [
        Server(
            address=one.address,
            port=one.port,
            weight=min(one.weight, 1) if is_even else one.weight,
            is_healthy=True,
        )
        for one in said.servers
        if is_healthy(said, (one.address, one.port), health)
    ]
    gone = [Server(address=ip, port=port, weight=0, is_healthy=False) for ip, port in leaving]
    return (*there, *gone)
