"""May these connections be made? `evaluate`'s answer without its reason, for very many of them.

Ends are looked up once, policies become rule sets, and what a rule set says to a class is judged
once: then a connection is four look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import BugError
from terway.model.ids import NodeName
from terway.policy.changes import ClusterChange, SetNamespace, SetNode, SetPod, SetPolicy
from terway.policy.cluster import Cluster, Pod
from terway.policy.compiling.atoms import Atom
from terway.policy.compiling.book import Book, Entry, RuleSetKey
from terway.policy.compiling.classes import ClassKey
from terway.policy.compiling.facts import Facts
from terway.policy.compiling.nets import number_of
from terway.policy.compiling.selection import Selection, without_network
from terway.policy.compiling.space import Space
from terway.policy.ends import addresses_of, parties_of
from terway.policy.flow import End, Flow, NodeEnd, PodEnd
from terway.policy.policies import Policy
from terway.policy.ports import PortSet

_NO_NODES: frozenset[NodeName] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _RuleSet:
    """A rule set, and what it was found to say to classes."""

    entry: Entry
    verdicts: dict[int, PortSet] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Party:
    """An end in one family: a pod, with what restricts it, or whoever has the address."""

    class_number: int
    pod: Pod | None = None
    egress: _RuleSet | None = None
    ingress: _RuleSet | None = None
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
        self._rule_sets: dict[RuleSetKey, _RuleSet] = {}
        for wish in self._wishes.values():
            if wish is not None:
                self._rule_set(wish.ingress)
                self._rule_set(wish.egress)
        self._space.update(touched)  # now that all selectors are known
        self._classes: dict[ClassKey, int] = {}
        self._keys: list[ClassKey] = []
        self._parties: dict[End, _Parties] = {}

    def allowed(self, flow: Flow) -> bool:
        """Return whether the connection may be made.

        Raises UsageError for an end that is not there, or has no address of the family.
        """
        source, destination = self._ends(flow)
        egress, ingress = source.egress, destination.ingress
        if egress is not None and not self._lets_out(egress, source, destination, flow):
            return False
        return ingress is None or self._lets_in(ingress, source, destination, flow)

    def _lets_out(self, of: _RuleSet, source: _Party, destination: _Party, flow: Flow) -> bool:
        pod = source.pod
        if pod is destination.pod:
            return not flow.via_service or self._says_above(of, destination, flow)
        if destination.nodes and pod is not None and pod.node in destination.nodes:
            return self._says_above(of, destination, flow)
        return self._says(of, destination, flow)

    def _lets_in(self, of: _RuleSet, source: _Party, destination: _Party, flow: Flow) -> bool:
        pod = destination.pod
        if pod is source.pod:
            return not flow.via_service or self._says_above(of, source, flow)
        if source.nodes and pod is not None and pod.node in source.nodes:
            return True
        return self._says(of, source, flow)

    def _says_above(self, of: _RuleSet, other: _Party, flow: Flow) -> bool:
        """Return what is said where NetworkPolicy allows everything."""
        above = self._rule_set(without_network(of.entry.key))
        return above is None or self._says(above, other, flow)

    def _says(self, of: _RuleSet, other: _Party, flow: Flow) -> bool:
        number = other.class_number
        verdict = of.verdicts.get(number)
        if verdict is None:
            verdict = of.verdicts[number] = of.entry.verdict(self._keys[number])
        return verdict.has(flow.protocol, flow.port)

    def _rule_set(self, key: RuleSetKey | None) -> _RuleSet | None:
        if key is None:
            return None
        found = self._rule_sets.get(key)
        if found is None:
            entry = self._book.by_id[self._book.hold(key)]
            found = self._rule_sets[key] = _RuleSet(entry)
        return found

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
        wish = self._wishes[owner]
        return _Party(
            self._number(key or (self._space.nets.at(number), frozenset())),
            pod=self._cluster.pods[owner],
            egress=self._rule_set(wish.egress) if wish else None,
            ingress=self._rule_set(wish.ingress) if wish else None,
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
