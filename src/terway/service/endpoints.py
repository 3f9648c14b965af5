"""Which of a service's endpoints may this node choose from?

As kube-proxy decides it (pkg/proxy/topology.go, v1.34), so that a cluster can go from one to the
other: two sets, `cluster` for everybody and `local` for traffic that must stay on its node. Where
none is ready, those that still serve while they terminate are better than nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from terway.service.values import Endpoint, Here


class Topology(Enum):
    """By which hints endpoints are told apart."""

    NONE = "none"
    ZONE = "zone"
    NODE = "node"


class Use(Enum):
    """What becomes of an endpoint here. The value is what a person is told."""

    CHOSEN = "used"
    LAST_RESORT = "used: it is terminating, but no endpoint is ready"
    OTHER_NODE = "not used: traffic stays on its node, and it is on another"
    OTHER_ZONE = "not used: its hints are for other zones"
    OTHER_NODES = "not used: its hints are for other nodes"
    TERMINATING = "not used: it is terminating, and others are ready"
    NOT_READY = "not used: it is not ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a node chooses from, each as places in the list of endpoints."""

    cluster: tuple[int, ...]
    local: tuple[int, ...]
    topology: Topology = Topology.NONE

    def includes(self, place: int) -> bool:
        """Return whether anybody here may choose the endpoint."""
        return place in self.cluster or place in self.local


def choose_endpoints(endpoints: Sequence[Endpoint], here: Here) -> Choice:
    """Return which endpoints of one port and family this node may choose from."""
    if all(_is_plain(one) for one in endpoints):
        everybody = tuple(range(len(endpoints)))
        local = tuple(i for i in everybody if endpoints[i].node == here.node)
        return Choice(cluster=everybody, local=local)
    topology = _topology(endpoints, here)
    cluster = _ready_or_serving(endpoints, lambda one: _is_meant(one, topology, here))
    local = _ready_or_serving(endpoints, lambda one: one.node == here.node, here.node)
    return Choice(cluster=cluster, local=local, topology=topology)


def use_of(
    endpoints: Sequence[Endpoint], place: int, choice: Choice, here: Here, *, is_local: bool
) -> Use:
    """Return what becomes of an endpoint here, for traffic that stays on the node or not."""
    one = endpoints[place]
    if place in (choice.local if is_local else choice.cluster):
        return Use.CHOSEN if one.is_ready else Use.LAST_RESORT
    if is_local and one.node != here.node:
        return Use.OTHER_NODE
    if one.is_ready:
        return Use.OTHER_NODES if choice.topology is Topology.NODE else Use.OTHER_ZONE
    return Use.TERMINATING if one.is_terminating and one.is_serving else Use.NOT_READY


def count_local_ready(endpoints: Iterable[Endpoint], here: Here) -> int:
    """Return what a health-check node port answers: how many ready endpoints this node has.

    One that is terminating is not ready, and load balancers stop sending to a node without any.
    An endpoint is counted once, whatever ports it has (pkg/proxy/healthcheck).
    """
    return len({one.address for one in endpoints if one.is_ready and one.node == here.node})


def _is_plain(one: Endpoint) -> bool:
    return one.is_ready and not (one.for_zones or one.for_nodes)


def _ready_or_serving(
    endpoints: Sequence[Endpoint], is_meant: Callable[[Endpoint], bool], node: str = ""
) -> tuple[int, ...]:
    """Return the ready ones that are meant, else those that serve while they terminate.

    `node`: of these, only its own.
    """
    ready = tuple(i for i, one in enumerate(endpoints) if one.is_ready and is_meant(one))
    if ready:
        return ready
    return tuple(
        i
        for i, one in enumerate(endpoints)
        if one.is_serving and one.is_terminating and (not node or one.node == node)
    )


def _is_meant(one: Endpoint, topology: Topology, here: Here) -> bool:
    match topology:
        case Topology.NODE:
            return here.node in one.for_nodes
        case Topology.ZONE:
            return here.zone in one.for_zones
        case Topology.NONE:
            return True


def _topology(endpoints: Sequence[Endpoint], here: Here) -> Topology:
    """Hints count only if every ready endpoint has some, and some are for this node or zone."""
    ready = [one for one in endpoints if one.is_ready]
    if _is_hinted([one.for_nodes for one in ready], here.node):
        return Topology.NODE
    if _is_hinted([one.for_zones for one in ready], here.zone):
        return Topology.ZONE
    return Topology.NONE


def _is_hinted(hints: Sequence[tuple[str, ...]], place: str) -> bool:
    return bool(place) and all(hints) and any(place in one for one in hints)
