"""Which rule sets are in use, by how many pods, and what does each say to a class?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from terway.policy.compiled import ClassId, RuleSet, RuleSetId
from terway.policy.compiling.atoms import Atom, AtomTable, Special, What
from terway.policy.compiling.classes import ClassKey
from terway.policy.compiling.rulesets import (
    ANYBODY_ACCEPTED,
    Clause,
    Layers,
    PolicySide,
    alternatives,
    clauses_of,
)
from terway.policy.policies import Direction, NetworkPolicy, PortName, Tier
from terway.policy.ports import PortSet

OwnNames = frozenset[tuple[PortName, PortSet]]

_NO_ATOMS: frozenset[Atom] = frozenset()
_NO_NAMES: OwnNames = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSetKey:
    """What makes a rule set: policies, in order, and the numbers that pods have for names.

    `is_exempt`: NetworkPolicy allows everything here: the other end is the own node or itself.
    """

    direction: Direction
    sides: tuple[PolicySide, ...]
    names: OwnNames = frozenset()
    is_exempt: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class InForce:
    """A side that rule sets use: its clauses, and what they use of the atoms."""

    clauses: tuple[Clause, ...]
    used: tuple[Atom, ...]  # once for each use
    atoms: frozenset[Atom]
    names: tuple[tuple[Atom, tuple[PortName, ...]], ...]  # asked of whom the atoms match
    rule_sets: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """A rule set in use. `verdicts` belong to it alone while `shown` is None."""

    id: RuleSetId
    key: RuleSetKey
    layers: Layers
    atoms: frozenset[Atom]
    asked: frozenset[PortName]  # names that are resolved on the other end
    default: PortSet
    pods: int = 0
    verdicts: dict[ClassId, PortSet] = field(default_factory=dict)
    shown: RuleSet | None = None
    _known: dict[frozenset[Atom] | ClassKey, PortSet] = field(default_factory=dict)

    def verdict(self, key: ClassKey) -> PortSet:
        """Return what it allows to a class. Classes alike in what it looks at are judged once."""
        seen, names = self.atoms & key[0], _NO_NAMES
        if self.asked and key[1]:
            names = frozenset(one for one in key[1] if one[0] in self.asked)
        found = self._known.get((seen, names) if names else seen)
        return self._judge(seen, names) if found is None else found

    def fill(self, class_ids: Iterable[ClassId], keys: Mapping[ClassId, ClassKey]) -> None:
        """Give a rule set that is new its verdicts: most of what a compile does happens here."""
        if self.asked:
            self.verdicts = {one: self.verdict(keys[one]) for one in class_ids}
            return
        atoms, known = self.atoms, self._known
        for class_id in class_ids:
            seen = atoms & keys[class_id][0]
            found = known.get(seen)
            self.verdicts[class_id] = self._judge(seen, _NO_NAMES) if found is None else found

    def _judge(self, seen: frozenset[Atom], names: OwnNames) -> PortSet:
        resolved = dict(names if self.key.direction is Direction.EGRESS else self.key.names)
        found = self.layers.allowed(seen, resolved)
        self._known[(seen, names) if names else seen] = found
        return found

    def put(self, class_id: ClassId, ports: PortSet) -> None:
        """Add a verdict."""
        self._own()
        self.verdicts[class_id] = ports

    def remove(self, class_id: ClassId) -> None:
        """Remove the verdict on a class that is gone."""
        self._own()
        del self.verdicts[class_id]

    def _own(self) -> None:
        if self.shown is not None:
            self.verdicts = dict(self.verdicts)
            self.shown = None

    def show(self) -> RuleSet:
        """Return it as a value that stays as it is."""
        if self.shown is None:
            self.shown = RuleSet(
                direction=self.key.direction, default=self.default, verdicts=self.verdicts
            )
        return self.shown


class Book:
    """The rule sets in use."""

    __slots__ = (
        "_atoms",
        "_born",
        "_by_key",
        "_clauses",
        "_has_own_node",
        "_idle",
        "_next",
        "by_id",
    )

    def __init__(self, atoms: AtomTable, *, has_own_node: bool) -> None:
        self._atoms = atoms
        self._has_own_node = has_own_node
        self._by_key: dict[RuleSetKey, Entry] = {}
        self._clauses: dict[PolicySide, InForce] = {}
        self._born: list[Entry] = []
        self._idle: dict[RuleSetId, None] = {}
        self._next = 1
        self.by_id: dict[RuleSetId, Entry] = {}

    def hold(self, key: RuleSetKey) -> RuleSetId:
        """Return the rule set of `key`, with one more pod."""
        entry = self._by_key.get(key)
        if entry is None:
            entry = self._add(key)
        entry.pods += 1
        return entry.id

    def drop(self, rule_set_id: RuleSetId) -> None:
        """Say that a rule set has one pod less."""
        entry = self.by_id[rule_set_id]
        entry.pods -= 1
        if not entry.pods:
            self._idle[rule_set_id] = None

    def settle(self) -> tuple[list[Entry], list[Entry]]:
        """Return the rule sets that came and those that went since the last time."""
        gone = [self.by_id[i] for i in self._idle if not self.by_id[i].pods]
        for entry in gone:
            self._forget(entry)
        born, self._born = [e for e in self._born if e.pods], []
        self._idle.clear()
        return born, gone

    def _add(self, key: RuleSetKey) -> Entry:
        in_force = [self._use(side) for side in key.sides]
        layers = self._layers(key, in_force)
        atoms = frozenset[Atom]().union(*(one.atoms for one in in_force))
        if layers.own_node is not None:
            atoms |= {layers.own_node}
        names = {name for one in in_force for _, asked in one.names for name in asked}
        resolved = {} if key.direction is Direction.EGRESS else dict(key.names)
        entry = Entry(
            id=RuleSetId(self._next),
            key=key,
            layers=layers,
            atoms=atoms,
            asked=frozenset(names),
            default=layers.allowed(_NO_ATOMS, resolved),
        )
        self._next += 1
        for atom in atoms:
            atom.rule_sets.add(entry.id)
        self._by_key[key] = self.by_id[entry.id] = entry
        self._born.append(entry)
        return entry

    def _forget(self, entry: Entry) -> None:
        del self._by_key[entry.key], self.by_id[entry.id]
        for atom in entry.atoms:
            atom.rule_sets.discard(entry.id)
        if entry.layers.own_node is not None:
            self._atoms.leave(entry.layers.own_node)
        for side in entry.key.sides:
            self._leave(side)

    def _layers(self, key: RuleSetKey, in_force: list[InForce]) -> Layers:
        admin: list[Clause] = []
        network: list[Clause] = []
        baseline: list[Clause] = []
        isolates = key.is_exempt
        for side, one in zip(key.sides, in_force, strict=True):
            if isinstance(side.policy, NetworkPolicy):
                isolates = True
                network += one.clauses
            else:
                (admin if side.policy.tier is Tier.ADMIN else baseline).extend(one.clauses)
        if key.is_exempt:
            network = [ANYBODY_ACCEPTED]
        return Layers(
            direction=key.direction,
            admin=tuple(admin),
            network=alternatives(network) if isolates else None,
            baseline=tuple(baseline),
            own_node=self._own_node(key, isolates=isolates),
        )

    def _own_node(self, key: RuleSetKey, *, isolates: bool) -> Atom | None:
        """Return the atom of the own node where it makes a difference."""
        matters = key.direction is Direction.INGRESS or (isolates and not key.is_exempt)
        return self._atoms.use(Special.OWN_NODE) if self._has_own_node and matters else None

    def _use(self, side: PolicySide) -> InForce:
        one = self._clauses.get(side)
        if one is None:
            one = self._clauses[side] = self._enforce(side)
        one.rule_sets += 1
        return one

    def _leave(self, side: PolicySide) -> None:
        one = self._clauses[side]
        one.rule_sets -= 1
        if one.rule_sets:
            return
        del self._clauses[side]
        for atom, names in one.names:
            self._atoms.leave_names(atom, names)
        for atom in one.used:
            self._atoms.leave(atom)

    def _enforce(self, side: PolicySide) -> InForce:
        used: list[Atom] = []

        def use(what: What) -> Atom:
            used.append(self._atoms.use(what))
            return used[-1]

        clauses = clauses_of(side, use)
        asked: list[tuple[Atom, tuple[PortName, ...]]] = []
        if side.direction is Direction.EGRESS:
            for clause in clauses:
                if clause.names:
                    of = (use(Special.NAMED),) if clause.atoms is None else clause.atoms
                    asked += [(atom, clause.names) for atom in of]
        for atom, names in asked:
            self._atoms.use_names(atom, names)
        return InForce(clauses=clauses, used=tuple(used), atoms=frozenset(used), names=tuple(asked))
