"""May these connections be made? `evaluate`'s answer without its reason, for very many of them.

Ends are looked up once, policies become rule sets, and what a rule set says to a class is judged
once: then a connection is four look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import BugError
from terway.model.ids import NodeName
from terway.policy.atoms import Atom
from terway.policy.book import Book, Entry, RuleSetKey
from terway.policy.changes import ClusterChange, SetNamespace, SetNode, SetPod, SetPolicy
from terway.policy.classes import ClassKey
from terway.policy.cluster import Cluster, Pod
from terway.policy.ends import addresses_of, parties_of
from terway.policy.facts import Facts
from terway.policy.flow import End, Flow, NodeEnd, PodEnd
from terway.policy.nets import number_of
from terway.policy.policies import Direction, Policy
from terway.policy.ports import PortSet
from terway.policy.selection import Selection, Wish, without_network
from terway.policy.space import Space

_NO_NODES: frozenset[NodeName] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _Party:
    """An end in one family: a pod (with what it needs), or whoever has the address."""

    class_number: int
    pod: Pod | None = None
    wish: Wish | None = None
    nodes: frozenset[NodeName] = _NO_NODES


_Parties = dict[Family, _Party | None]  # in the order of its addresses; None is not its own now


class Decider:
    """A cluster and its policies, ready to be asked."""

    def __init__(self, cluster: Cluster, policies: Iterable[Policy]) -> None:
        self._cluster = cluster
        facts = Facts(everybody=True)
        touched = facts.apply(_changes(cluster, policies))
        self._space = Space(facts, None)
        self._book = Book(self._space.atoms, has_own_node=False)
        self._wishes = Selection(facts).update(touched)
        self._entries: dict[RuleSetKey, Entry] = {}
        for wish in self._wishes.values():
            for key in (wish.ingress, wish.egress) if wish else ():
                if key is not None:
                    self._entry(key)
        self._space.update(touched)
        self._classes: dict[ClassKey, int] = {}
        self._keys: list[ClassKey] = []
        self._parties: dict[End, _Parties] = {}
        self._verdicts: dict[tuple[Entry, int], PortSet] = {}

    def allowed(self, flow: Flow) -> bool:
        """Return whether the connection may be made.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
        source, destination = self._ends(flow)
        return (source.pod is None or self._side(Direction.EGRESS, source, destination, flow)) and (
            destination.pod is None or self._side(Direction.INGRESS, destination, source, flow)
        )

    def _side(self, direction: Direction, me: _Party, other: _Party, flow: Flow) -> bool:
        is_self = other.pod is me.pod
        if me.wish is None or (is_self and not flow.via_service):
            return True
        is_own_node = me.pod is not None and me.pod.node in other.nodes
        if is_own_node and direction is Direction.INGRESS:
            return True
        key = me.wish.ingress if direction is Direction.INGRESS else me.wish.egress
        if is_self or is_own_node:
            key = without_network(key)
        if key is None:
            return True
        return self._verdict(key, other.class_number).has(flow.protocol, flow.port)

    def _verdict(self, key: RuleSetKey, class_number: int) -> PortSet:
        entry = self._entry(key)
        found = self._verdicts.get((entry, class_number))
        if found is None:
            found = entry.verdict(self._keys[class_number])
            self._verdicts[entry, class_number] = found
        return found

    def _entry(self, key: RuleSetKey) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._book.by_id[self._book.hold(key)]
        return entry

    def _ends(self, flow: Flow) -> tuple[_Party, _Party]:
        try:
            sources, destinations = self._all(flow.source), self._all(flow.destination)
            family = flow.family or next(f for f in sources if f in destinations)
            source, destination = sources.get(family), destinations.get(family)
        except StopIteration:
            source = destination = None
        if source is None or destination is None:
            parties_of(self._cluster, flow)  # says what is wrong with them
            raise BugError(f"{flow}: an end has no party, and ends.py sees none missing")
        return source, destination

    def _all(self, end: End) -> _Parties:
        found = self._parties.get(end)
        if found is None:
            found = {}
            for address in addresses_of(self._cluster, end):
                if family_of(address) not in found:
                    found[family_of(address)] = self._party(end, address)
            self._parties[end] = found
        return found

    def _party(self, end: End, address: IPAddress) -> _Party | None:
        number = number_of(address)
        owner = self._space.owner_of(number)
        nodes = frozenset(self._space.nodes_with(number))
        if isinstance(end, NodeEnd):
            return self._node_party(number, nodes | {end.node})
        if isinstance(end, PodEnd):
            if self._cluster.pods[end.pod].is_host_network:
                return self._node_party(number, nodes)
            if owner != end.pod:
                return None
        if owner is None:
            return self._node_party(number, nodes)
        key = self._space.key_of(number)
        return _Party(
            self._number(key or (self._space.nets.at(number), frozenset())),
            pod=self._cluster.pods[owner],
            wish=self._wishes[owner],
        )

    def _node_party(self, number: int, nodes: frozenset[NodeName]) -> _Party:
        atoms: frozenset[Atom] = self._space.atoms_of_nodes(nodes) | self._space.nets.at(number)
        return _Party(self._number((atoms, frozenset())), nodes=nodes)

    def _number(self, key: ClassKey) -> int:
        number = self._classes.setdefault(key, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key)
        return number


def _changes(cluster: Cluster, policies: Iterable[Policy]) -> Iterator[ClusterChange]:
    return chain(
        (SetNamespace(namespace=one) for one in cluster.namespaces.values()),
        (SetNode(node=one) for one in cluster.nodes.values()),
        (SetPod(pod=one) for one in cluster.pods.values()),
        (SetPolicy(policy=one) for one in policies),
    )
