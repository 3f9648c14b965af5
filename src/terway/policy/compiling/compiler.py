"""From changes of the cluster to changes of what a place enforces, touching only what they must.

    changes ─► facts ─► selection: pods ─► rule sets (book) ─► atoms ─► space: addresses ─► classes
                                               └───────── verdicts, where either is new ◄──┘

Whatever is new is made before anything old is let go, so what both need stays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from terway.model.address import IPAddress
from terway.model.ids import NodeName
from terway.policy.changes import ClusterChange
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, ClassId, Compiled, Net, RuleSet, RuleSetId, Sides
from terway.policy.compiling.book import Book, Entry, RuleSetKey
from terway.policy.compiling.classes import Classes, ClassKey
from terway.policy.compiling.facts import Facts
from terway.policy.compiling.nets import Range, address_of, split
from terway.policy.compiling.selection import Selection, Wish
from terway.policy.compiling.space import Dirty, Space
from terway.policy.ports import PortSet

_NOTHING = Sides()


class Compiler:
    """What a node has to enforce, kept up to date.

    It holds the pods that are attached; with `everybody`, all pods that there are: the view of the
    control plane and of offline tools, in which pods have no own node in common (`node` is None).
    """

    __slots__ = (
        "_book",
        "_class_at",
        "_classes",
        "_facts",
        "_nets",
        "_selection",
        "_sides",
        "_space",
    )

    def __init__(self, node: NodeName | None, *, everybody: bool = False) -> None:
        self._facts = Facts(everybody=everybody)
        self._selection = Selection(self._facts)
        self._space = Space(self._facts, node)
        self._book = Book(self._space.atoms, has_own_node=node is not None)
        self._classes = Classes()
        self._class_at: dict[int, ClassId] = {}
        self._nets: tuple[Net, ...] = ()
        self._sides: dict[PodKey, Sides] = {}

    def compiled(self) -> Compiled:
        """Return all that is enforced now."""
        return Compiled(
            hosts={address_of(number): one for number, one in self._class_at.items()},
            nets=self._nets,
            rule_sets={entry.id: entry.show() for entry in self._book.by_id.values()},
            sides=dict(self._sides),
        )

    def apply(self, changes: Iterable[ClusterChange]) -> Change:
        """Take a batch of changes in, and return what is different in what is enforced."""
        touched = self._facts.apply(changes)
        sides = self._switch_sides(self._selection.update(touched))
        born, gone = self._book.settle()
        dirty = self._space.update(touched)
        hosts, nets = self._switch_classes(dirty)
        verdicts = self._judge(born)
        rule_sets: dict[RuleSetId, RuleSet | None] = {entry.id: None for entry in gone}
        rule_sets.update((entry.id, entry.show()) for entry in born)
        return Change(rule_sets=rule_sets, verdicts=verdicts, hosts=hosts, nets=nets, sides=sides)

    def _switch_sides(self, wishes: dict[PodKey, Wish | None]) -> dict[PodKey, Sides | None]:
        switched: dict[PodKey, Sides | None] = {}
        let_go: list[Sides] = []
        for key, wish in wishes.items():
            before, now = self._sides.get(key, _NOTHING), self._hold(wish)
            let_go.append(before)
            if now == before:
                continue
            if now == _NOTHING:
                del self._sides[key]
                switched[key] = None
            else:
                self._sides[key] = switched[key] = now
        for sides in let_go:
            self._drop(sides)
        return switched

    def _hold(self, wish: Wish | None) -> Sides:
        if wish is None:
            return _NOTHING
        return Sides(
            ingress=self._hold_one(wish.ingress),
            egress=self._hold_one(wish.egress),
            own_node=self._hold_one(wish.own_node),
            itself=self._hold_one(wish.itself),
        )

    def _hold_one(self, key: RuleSetKey | None) -> RuleSetId | None:
        return None if key is None else self._book.hold(key)

    def _drop(self, sides: Sides) -> None:
        for rule_set_id in (sides.ingress, sides.egress, sides.own_node, sides.itself):
            if rule_set_id is not None:
                self._book.drop(rule_set_id)

    def _switch_classes(
        self, dirty: Dirty
    ) -> tuple[dict[IPAddress, ClassId | None], tuple[Net, ...] | None]:
        numbers = dirty.numbers | self._hosts_in(dirty.ranges or ())
        hosts: dict[IPAddress, ClassId | None] = {}
        let_go: list[ClassId] = []
        for number in numbers:
            before, key = self._class_at.get(number), self._space.key_of(number)
            now = None if key is None else self._classes.hold(key)
            if before is not None:
                let_go.append(before)
            if now == before:
                continue
            hosts[address_of(number)] = now
            if now is None:
                del self._class_at[number]
            else:
                self._class_at[number] = now
        nets = None if dirty.ranges is None else self._switch_nets(let_go)
        for class_id in let_go:
            self._classes.drop(class_id)
        return hosts, nets

    def _switch_nets(self, let_go: list[ClassId]) -> tuple[Net, ...] | None:
        let_go += (net.class_id for net in self._nets)
        before = self._nets
        self._nets = tuple(
            self._net((first, last), (covers, frozenset()))
            for first, last, covers in self._space.nets
        )
        return None if self._nets == before else self._nets

    def _net(self, span: Range, key: ClassKey) -> Net:
        (family, first), (_, last) = split(span[0]), split(span[1])
        return Net(family=family, first=first, last=last, class_id=self._classes.hold(key))

    def _hosts_in(self, ranges: Iterable[Range]) -> set[int]:
        ascending = sorted(self._class_at) if ranges else []
        found: set[int] = set()
        for first, last in ranges:
            found.update(ascending[bisect_left(ascending, first) : bisect_right(ascending, last)])
        return found

    def _judge(self, entries: list[Entry]) -> dict[tuple[RuleSetId, ClassId], PortSet | None]:
        """Give new classes their verdicts, and new rule sets (`entries`) all of theirs."""
        born, gone = self._classes.settle()
        verdicts: dict[tuple[RuleSetId, ClassId], PortSet | None] = {}
        new = {entry.id for entry in entries}
        for entry in entries:
            seen = set[ClassId]().union(*(atom.classes for atom in entry.atoms))
            entry.fill(seen, self._classes.keys)
        for class_id, key in gone:
            for rule_set_id in self._watching(key) - new:
                self._book.by_id[rule_set_id].remove(class_id)
                verdicts[rule_set_id, class_id] = None
        for class_id in born:
            key = self._classes.keys[class_id]
            for rule_set_id in self._watching(key) - new:
                entry = self._book.by_id[rule_set_id]
                ports = entry.verdict(key)
                entry.put(class_id, ports)
                verdicts[rule_set_id, class_id] = ports
        return verdicts

    def _watching(self, key: ClassKey) -> set[RuleSetId]:
        return set().union(*(atom.rule_sets for atom in key[0]))
