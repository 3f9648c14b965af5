"""What does a Service come down to: which addresses lead where, and to which endpoints?

A *line* is one port of a service in one family. It has one number, two sets (everybody's, and that
of this node alone) and its own backends, so that an endpoint which goes is cut from this service
and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from terway.service.contents import (
    FLAG_AFFINITY,
    FLAG_EXTERNAL,
    FLAG_HOST_PORT,
    FLAG_LOCAL_OUTSIDE,
    FLAG_NODE_PORT,
    FLAG_SOURCE_RANGES,
    family_of,
    pack_end,
)
from terway.service.endpoints import Choice, choose_endpoints
from terway.service.values import (
    Endpoint,
    Here,
    HostPort,
    Service,
    ServicePort,
    Slice,
)

FAMILIES = (4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A backend of a line. `rests`: it goes on with what it has, and gets nothing new."""

    identity: bytes
    rests: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A frontend: its key, and from which of the line's sets is chosen there."""

    key: bytes
    flags: int
    inside_local: bool = False
    outside_local: bool | None = None  # None: nobody outside is led anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A port of a service in one family. `cluster` and `local` are places in `members`."""

    key: bytes  # what tells it from the others of its service: a frontend's key, mostly no address
    doors: tuple[Door, ...]
    members: tuple[Member, ...]
    cluster: tuple[int, ...]
    local: tuple[int, ...]
    affinity_s: int = 0
    ranges: tuple[tuple[bytes, int], ...] = ()

    def only(self, identities: frozenset[bytes], doors: frozenset[bytes]) -> Line:
        """Return the line with these members and doors alone."""
        kept = [i for i, one in enumerate(self.members) if one.identity in identities]
        places = {old: new for new, old in enumerate(kept)}
        return replace(
            self,
            doors=tuple(door for door in self.doors if door.key in doors),
            members=tuple(self.members[i] for i in kept),
            cluster=tuple(places[i] for i in self.cluster if i in places),
            local=tuple(places[i] for i in self.local if i in places),
        )


def lines_of(service: Service, slices: Sequence[Slice], here: Here) -> tuple[Line, ...]:
    """Return the lines of a service, as this node must have them."""
    return _without_twins(
        _line(service, port, family, slices, here)
        for family in FAMILIES
        if _has_family(service, family)
        for port in service.ports
    )


def host_port_lines(ports: Iterable[HostPort]) -> tuple[Line, ...]:
    """Return the lines of the host ports of a pod."""
    return _without_twins(_host_port_line(one) for one in ports)


def _without_twins(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Of two with one key the API has refused one, mostly: the first counts."""
    found: dict[bytes, Line] = {}
    for line in lines:
        found.setdefault(line.key, line)
    return tuple(found.values())


def endpoints_of(port: ServicePort, family: int, slices: Sequence[Slice]) -> dict[bytes, Endpoint]:
    """Return the endpoints of a port in a family, by identity.

    One may be in several slices while it moves from one to another: the better state counts.
    """
    found: dict[bytes, Endpoint] = {}
    for number, endpoint in _candidates(port, family, slices):
        identity = pack_end(endpoint.address, number, port.protocol, family)
        held = found.get(identity)
        if held is None or _rank(endpoint) > _rank(held):
            found[identity] = endpoint
    return found


def _candidates(
    port: ServicePort, family: int, slices: Sequence[Slice]
) -> Iterator[tuple[int, Endpoint]]:
    length = 4 if family == 4 else 16
    for one in slices:
        for offered in one.ports:
            if offered.name == port.name and offered.protocol == port.protocol:
                for endpoint in one.endpoints:
                    if len(endpoint.address) == length:
                        yield offered.port, endpoint


def _rank(endpoint: Endpoint) -> tuple[bool, bool, bool, str]:
    is_there = not endpoint.is_terminating
    return endpoint.is_ready, endpoint.is_serving, is_there, endpoint.node


def _line(
    service: Service, port: ServicePort, family: int, slices: Sequence[Slice], here: Here
) -> Line:
    endpoints = endpoints_of(port, family, slices)
    states = tuple(endpoints.values())
    choice = choose_endpoints(states, here)
    cluster, local = _needed(service, choice)
    return Line(
        key=pack_end(b"", port.port, port.protocol, family),
        doors=_doors(service, port, family),
        members=tuple(
            Member(identity=identity, rests=not (state.is_ready or choice.includes(place)))
            for place, (identity, state) in enumerate(endpoints.items())
        ),
        cluster=cluster,
        local=local,
        affinity_s=service.affinity_s,
        ranges=_ranges(service, family),
    )


def _needed(service: Service, choice: Choice) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sets that some door of the service leads to."""
    is_external = service.is_external
    needs_cluster = is_external or not service.internal_local
    needs_local = service.internal_local or (is_external and service.external_local)
    return choice.cluster if needs_cluster else (), choice.local if needs_local else ()


def _has_family(service: Service, family: int) -> bool:
    addresses = (service.cluster_ips, service.external_ips, service.ingress_ips)
    return any(family_of(one) == family for group in addresses for one in group)


def _ranges(service: Service, family: int) -> tuple[tuple[bytes, int], ...]:
    return tuple(one for one in service.source_ranges if family_of(one[0]) == family)


def _doors(service: Service, port: ServicePort, family: int) -> tuple[Door, ...]:
    """Return the frontends of a port, those that cannot be another service's first."""
    affinity = FLAG_AFFINITY if service.affinity_s else 0
    doors = [
        Door(
            key=pack_end(address, port.port, port.protocol, family),
            flags=affinity,
            inside_local=service.internal_local,
        )
        for address in service.cluster_ips
        if family_of(address) == family
    ]
    return (*doors, *_outer_doors(service, port, family, affinity))


def _outer_doors(service: Service, port: ServicePort, family: int, affinity: int) -> Iterator[Door]:
    """Yield what somebody outside can reach. From inside, every endpoint is as good as another."""
    flags = affinity | FLAG_EXTERNAL | (FLAG_LOCAL_OUTSIDE if service.external_local else 0)
    judged = flags | (FLAG_SOURCE_RANGES if _ranges(service, family) else 0)
    places = [
        *((address, port.port, judged) for address in service.ingress_ips),
        *((address, port.port, flags) for address in service.external_ips),
    ]
    if port.node_port:
        places.append((b"", port.node_port, flags | FLAG_NODE_PORT))
    for address, number, which in places:
        if not address or family_of(address) == family:
            yield Door(
                key=pack_end(address, number, port.protocol, family),
                flags=which,
                outside_local=service.external_local,
            )


def _host_port_line(one: HostPort) -> Line:
    family = family_of(one.address)
    identity = pack_end(one.address, one.port, one.protocol, family)
    door = Door(
        key=pack_end(one.host_ip, one.host_port, one.protocol, family),
        flags=FLAG_EXTERNAL | FLAG_HOST_PORT | FLAG_LOCAL_OUTSIDE,
        outside_local=False,
    )
    return Line(
        key=door.key,
        doors=(door,),
        members=(Member(identity=identity, rests=False),),
        cluster=(0,),
        local=(),
    )
