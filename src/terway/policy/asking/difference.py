"""What becomes allowed, and what denied, from one set of policies to another? Exact, and finite.

Both sets see the same holders. Groups that both treat alike are paired; for each pair the answers
are sets of ports, and their differences are the result, each with a packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.policy.asking.matrix_groups import Group, Pair, Relation, world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.representatives import Holder
from terway.policy.cluster import Cluster, Namespace, Protocol
from terway.policy.flow import AddressEnd, End, Flow, PodEnd
from terway.policy.policies import Policy
from terway.policy.ports import PortSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packet:
    """The first packet of a connection that somebody could make."""

    source: Holder
    destination: Holder
    protocol: Protocol
    port: int
    via_service: bool = False

    @property
    def flow(self) -> Flow:
        """Return it as a question to `evaluate`, about `cluster`."""
        return Flow(
            source=_end(self.source),
            destination=_end(self.destination),
            protocol=self.protocol,
            port=self.port,
            family=self.source.family,
            via_service=self.via_service,
        )

    @property
    def cluster(self) -> Cluster:
        """Return a cluster with the two ends and nobody else."""
        ends = (self.source, self.destination)
        pods = [one.pod for one in ends if one.pod is not None]
        spaces = {one.pod.key.namespace: one.namespace for one in ends if one.pod is not None}
        return Cluster(
            pods={pod.key: pod for pod in pods},
            namespaces={name: Namespace(name=name, labels=spaces[name]) for name in spaces},
            nodes={node.name: node for one in ends for node in one.nodes if node.addresses},
        )


def _end(holder: Holder) -> End:
    if holder.pod is not None:
        return PodEnd(pod=holder.pod.key)
    return AddressEnd(address=holder.address)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairChange:
    """What becomes allowed, and what denied, between two groups."""

    pair: Pair
    allowed: PortSet
    denied: PortSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Ports that become allowed (else denied) from all of `sources` to all of `destinations`."""

    is_allowed: bool
    ports: PortSet
    relation: Relation
    sources: tuple[Group, ...]
    destinations: tuple[Group, ...]
    packet: Packet


def changes(
    holders: Iterable[Holder],
    before: Iterable[Policy],
    after: Iterable[Policy],
    *,
    is_any: bool = False,
) -> Iterator[PairChange]:
    """Yield the pairs of groups between which something becomes allowed or denied.

    `is_any`: `holders` are representatives of any cluster.
    """
    old, new = PortMatrix(before), PortMatrix(after)
    for pair in world_of(holders, (old, new), is_any=is_any).pairs():
        was, will = pair.ports(0, old), pair.ports(1, new)
        if was != will:
            yield PairChange(pair=pair, allowed=will - was, denied=was - will)


def differences(changed: Iterable[PairChange]) -> tuple[Difference, ...]:
    """Return changes with equal ones folded: first over sources, then over destinations."""
    by_destination: dict[tuple[bool, PortSet, Relation, int], list[Pair]] = {}
    for change in changed:
        for is_allowed, ports in ((True, change.allowed), (False, change.denied)):
            if ports:
                key = (is_allowed, ports, change.pair.relation, id(change.pair.destination))
                by_destination.setdefault(key, []).append(change.pair)
    folded: dict[tuple[bool, PortSet, Relation, tuple[int, ...]], list[list[Pair]]] = {}
    for (is_allowed, ports, relation, _), pairs in by_destination.items():
        sources = tuple(id(pair.source) for pair in pairs)
        if relation is Relation.ITSELF:
            sources = ()
        folded.setdefault((is_allowed, ports, relation, sources), []).append(pairs)
    return tuple(
        Difference(
            is_allowed=is_allowed,
            ports=ports,
            relation=relation,
            sources=tuple(pair.source for pair in columns[0]),
            destinations=tuple(pairs[0].destination for pairs in columns),
            packet=packet_of(columns[0][0], ports),
        )
        for (is_allowed, ports, relation, _), columns in folded.items()
    )


def packet_of(pair: Pair, ports: PortSet) -> Packet:
    """Return a packet between the pair on one of `ports`, of which there is one."""
    protocol, first, last = next(iter(ports))
    source, destination = pair.example
    return Packet(
        source=source,
        destination=destination,
        protocol=protocol,
        port=_plausible_port(first, last) if protocol is not Protocol.OTHER else 0,
        via_service=pair.relation is Relation.ITSELF,
    )


def _plausible_port(first: int, last: int) -> int:
    """Return a port that people know, if one is among them; 0 only if it is all there is."""
    known = (port for port in (80, 443, 8080, 53) if first <= port <= last)
    return next(known, max(first, min(last, 1)))
