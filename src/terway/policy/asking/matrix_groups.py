"""Which holders do policies treat alike, and which of them can talk to which?

Holders with the same rows and columns are one group; what holds for one of a group holds for all.
A pair of groups is in up to three relations, and each has an example.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from terway.model.address import Family, IPAddress
from terway.model.ids import NodeName
from terway.policy.asking.matrix_ports import Column, PortMatrix, Row
from terway.policy.asking.representatives import Holder, is_own_node, is_same_pod
from terway.policy.asking.representatives_space import next_number
from terway.policy.cluster import PodKey
from terway.policy.compiling.nets import address_of, number_of
from terway.policy.policies import Direction
from terway.policy.ports import PortSet


class Relation(Enum):
    """How the ends of a connection stand to each other."""

    STRANGERS = "strangers"
    OWN_NODE = "own-node"  # a pod opens to the node that it runs on
    ITSELF = "itself"  # a pod opens to itself through a service


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Holders that all of some matrices treat alike; rows and columns are one for each matrix."""

    holders: tuple[Holder, ...]
    egress: tuple[Row, ...]
    ingress: tuple[Row, ...]
    columns: tuple[Column, ...]

    @property
    def first(self) -> Holder:
        """Return one of the holders."""
        return self.holders[0]

    @property
    def family(self) -> Family:
        """Return the family of all the addresses."""
        return self.first.family

    @property
    def keys(self) -> dict[PodKey, None]:
        """Return the pods."""
        return dict.fromkeys(one.pod.key for one in self.holders if one.pod is not None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """Two groups, how their holders stand to each other, and two of them who stand so."""

    source: Group
    destination: Group
    relation: Relation
    example: tuple[Holder, Holder]

    def ports(self, at: int, matrix: PortMatrix) -> PortSet:
        """Return the ports on which `source` reaches `destination`; `at` is the matrix's place."""
        return self.egress(at, matrix) & self.ingress(at, matrix)

    def egress(self, at: int, matrix: PortMatrix) -> PortSet:
        """Return what the source's side lets out."""
        row, column = self.source.egress[at], self.destination.columns[at]
        return matrix.ports(row, column, exempt=self.relation is not Relation.STRANGERS)

    def ingress(self, at: int, matrix: PortMatrix) -> PortSet:
        """Return what the destination's side lets in."""
        row, column = self.destination.ingress[at], self.source.columns[at]
        return matrix.ports(row, column, exempt=self.relation is not Relation.STRANGERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All groups. `is_any`: holders stand for all clusters, not for the pods of one.

    There each of them may be there more than once, each node may be each pod's own, and two pods of
    one namespace must agree on its labels.
    """

    groups: tuple[Group, ...]
    is_any: bool = False
    _own: dict[tuple[int, int], list[tuple[Holder, Holder]]] = field(default_factory=dict)

    def pairs(self) -> Iterator[Pair]:
        """Yield every pair of groups, in every relation in which it occurs."""
        for source in self.groups:
            for destination in self.groups:
                yield from self.pairs_of(source, destination)
            if source.first.pod is not None:
                yield _pair(source, source, Relation.ITSELF, (source.first, source.first))

    def pairs_of(self, source: Group, destination: Group) -> Iterator[Pair]:
        """Yield a pair of groups as strangers, and as pod and own node, where there are such."""
        if source.family is not destination.family:
            return
        strangers = self._strangers(source, destination)
        if strangers is not None:
            yield _pair(source, destination, Relation.STRANGERS, strangers)
        own = self._own_pairs(source, destination)
        if own:
            yield _pair(source, destination, Relation.OWN_NODE, own[0])

    def has_home(self, source: Group, destination: Group) -> bool:
        """Return whether one of `destination` is the own node of one of `source`."""
        return source.family is destination.family and bool(self._own_pairs(source, destination))

    def _own_pairs(self, source: Group, destination: Group) -> list[tuple[Holder, Holder]]:
        if self.is_any and source.first.pod is not None and destination.first.nodes:
            both = _any_pair(source.first, destination.first)
            return [] if both is None else [_at_home(*both)]
        return self._own.get((id(source), id(destination)), [])

    def _strangers(self, source: Group, destination: Group) -> tuple[Holder, Holder] | None:
        if self.is_any:
            return _any_pair(source.first, destination.first)
        own = len(self._own.get((id(source), id(destination)), ()))
        own += len(self._own.get((id(destination), id(source)), ()))
        if own == len(source.holders) * len(destination.holders):
            return None
        for one in source.holders:
            for other in destination.holders:
                if is_other(one, other) and not _are_home(one, other):
                    return one, other
        return None


def _pair(
    source: Group, destination: Group, relation: Relation, example: tuple[Holder, Holder]
) -> Pair:
    return Pair(source=source, destination=destination, relation=relation, example=example)


def is_other(one: Holder, other: Holder) -> bool:
    """Return whether two holders are not the same pod or address."""
    return one is not other and not is_same_pod(one, other)


def _are_home(one: Holder, other: Holder) -> bool:
    return is_own_node(one, other) or is_own_node(other, one)


def _any_pair(one: Holder, other: Holder) -> tuple[Holder, Holder] | None:
    """Return the two as they can be in one cluster; None if they cannot."""
    if one.pod is not None and other.pod is not None:
        is_one_place = one.pod.key.namespace == other.pod.key.namespace
        if is_one_place and one.namespace != other.namespace:
            return None
    if one.address != other.address:
        return one, other
    number = next_number(other.spans, number_of(one.address))
    if number is None:
        return None
    return one, _twin(other, address_of(number))


def _twin(one: Holder, address: IPAddress) -> Holder:
    """Return another one of the same kind, who has `address`."""
    if one.pod is None:
        there = tuple(replace(node, addresses=(address,)) for node in one.nodes)
        return replace(one, address=address, nodes=there)
    key = PodKey(namespace=one.pod.key.namespace, name=f"{one.pod.key.name}-too")
    return replace(one, address=address, pod=replace(one.pod, key=key, addresses=(address,)))


def _at_home(pod: Holder, node: Holder) -> tuple[Holder, Holder]:
    assert pod.pod is not None
    return replace(pod, pod=replace(pod.pod, node=node.nodes[0].name)), node


def world_of(
    holders: Iterable[Holder],
    matrices: Sequence[PortMatrix],
    *,
    is_any: bool = False,
    tell: Callable[[Holder], Hashable] | None = None,
) -> World:
    """Return the groups that `matrices` together, and `tell`, can tell apart."""
    members: dict[object, list[Holder]] = defaultdict(list)
    for one in holders:
        egress = tuple(matrix.row(one, Direction.EGRESS) for matrix in matrices)
        ingress = tuple(matrix.row(one, Direction.INGRESS) for matrix in matrices)
        columns = tuple(matrix.column(one) for matrix in matrices)
        kind = (one.pod is not None, bool(one.nodes), one.family)
        place = _place_of(one) if is_any else None
        told = tell(one) if tell is not None else None
        members[egress, ingress, columns, kind, place, told].append(one)
    groups = tuple(_group(tuple(found), matrices) for found in members.values())
    own: dict[tuple[int, int], list[tuple[Holder, Holder]]] = {}
    return World(groups=groups, is_any=is_any, _own=own if is_any else _own_nodes(groups))


def _group(holders: tuple[Holder, ...], matrices: Sequence[PortMatrix]) -> Group:
    first = holders[0]
    return Group(
        holders=holders,
        egress=tuple(matrix.row(first, Direction.EGRESS) for matrix in matrices),
        ingress=tuple(matrix.row(first, Direction.INGRESS) for matrix in matrices),
        columns=tuple(matrix.column(first) for matrix in matrices),
    )


def _place_of(holder: Holder) -> object:
    if holder.pod is None:
        return None
    return holder.pod.key.namespace, frozenset(holder.namespace.items())


def _own_nodes(groups: Iterable[Group]) -> dict[tuple[int, int], list[tuple[Holder, Holder]]]:
    """Return who is whose own node, by the identity of the two groups."""
    nodes: dict[tuple[NodeName, Family], list[tuple[Group, Holder]]] = defaultdict(list)
    for group in groups:
        for one in group.holders:
            for node in one.nodes:
                nodes[node.name, one.family].append((group, one))
    found: dict[tuple[int, int], list[tuple[Holder, Holder]]] = defaultdict(list)
    for group in groups:
        for one in group.holders:
            home = one.pod.node if one.pod is not None else None
            for other, host in nodes.get((home, one.family), ()) if home is not None else ():
                found[id(group), id(other)].append((one, host))
    return found
