"""What do the policies of one direction allow to those whom given selectors match?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from terway.policy.cluster import NamedPort, Protocol
from terway.policy.compiling.atoms import Atom, What, what_of
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Direction,
    NetworkPolicy,
    Policy,
    Port,
    PortName,
    PortRange,
    Rule,
    Tier,
    UnknownPeer,
)
from terway.policy.ports import EVERY_PORT, NOTHING, PortSet, ports_of, union

Resolved = Mapping[PortName, PortSet]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicySide:
    """What a policy says in one direction; equal only to itself."""

    policy: Policy
    direction: Direction
    rules: tuple[Rule, ...]
    names: tuple[PortName, ...]  # the port names in its rules

    @property
    def order(self) -> tuple[int, tuple[int, str, str]]:
        """Return its place among the policies that select a pod."""
        if isinstance(self.policy, NetworkPolicy):
            return 1, (0, self.policy.key.name, "")
        return (0 if self.policy.tier is Tier.ADMIN else 2), self.policy.rank

    @property
    def is_baseline(self) -> bool:
        """Return whether it counts only where no NetworkPolicy isolates."""
        return isinstance(self.policy, ClusterPolicy) and self.policy.tier is Tier.BASELINE

    def says_as(self, other: PolicySide) -> bool:
        """Return whether the two say the same, at the same place."""
        return self.order == other.order and self.rules == other.rules


def side_of(policy: Policy, direction: Direction) -> PolicySide | None:
    """Return what a policy says in a direction; None if that is not its business."""
    rules = policy.ingress if direction is Direction.INGRESS else policy.egress
    if rules is None or (isinstance(policy, ClusterPolicy) and not rules):
        return None
    ports = (port for rule in rules for port in rule.ports or ())
    names = dict.fromkeys(port for port in ports if isinstance(port, PortName))
    return PolicySide(policy=policy, direction=direction, rules=rules, names=tuple(names))


def resolve(names: Iterable[PortName], ports: Collection[NamedPort]) -> dict[PortName, PortSet]:
    """Return the numbers that a pod with `ports` has for names; what it lacks is left out."""
    found: dict[PortName, PortSet] = {}
    for name in names:
        numbers = union(
            ports_of(port.protocol, port.port, port.port)
            for port in ports
            if port.name == name.name
            and name.protocol in (None, port.protocol)
            and port.protocol is not Protocol.OTHER
        )
        if numbers:
            found[name] = numbers
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clause:
    """A rule, its peers as atoms; None is anyone. A name is resolved when it is asked."""

    action: Action
    atoms: frozenset[Atom] | None
    ports: PortSet
    names: tuple[PortName, ...] = ()

    def hits(self, atoms: frozenset[Atom], resolved: Resolved) -> PortSet:
        """Return the ports on which it matches whom `atoms` match."""
        if self.atoms is not None and self.atoms.isdisjoint(atoms):
            return NOTHING
        found = self.ports
        for name in self.names:
            found |= resolved.get(name, NOTHING)
        return found


ANYBODY_ACCEPTED = Clause(action=Action.ACCEPT, atoms=None, ports=EVERY_PORT)
EVERYBODY_DENIED = Clause(action=Action.DENY, atoms=None, ports=EVERY_PORT)


def clauses_of(side: PolicySide, atom_of: Callable[[What], Atom]) -> tuple[Clause, ...]:
    """Return the rules of a side; `atom_of` is called once for each peer of each rule."""
    return tuple(_clause(rule, atom_of) for rule in side.rules)


def _clause(rule: Rule, atom_of: Callable[[What], Atom]) -> Clause:
    known = [peer for peer in rule.peers or () if not isinstance(peer, UnknownPeer)]
    is_whole = len(known) == len(rule.peers or ())
    if not is_whole and rule.action is not Action.ACCEPT:  # fails closed
        return EVERYBODY_DENIED
    ports, names = _ports(rule.ports)
    atoms = None if rule.peers is None else frozenset(atom_of(what_of(peer)) for peer in known)
    return Clause(action=rule.action, atoms=atoms, ports=ports, names=names)


def _ports(ports: Sequence[Port] | None) -> tuple[PortSet, tuple[PortName, ...]]:
    if ports is None:
        return EVERY_PORT, ()
    numbers = union(
        ports_of(port.protocol, port.first, port.last)
        for port in ports
        if isinstance(port, PortRange)
    )
    return numbers, tuple(port for port in ports if isinstance(port, PortName))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alternatives:
    """Clauses of which each allows, found by atom: a rule set may have thousands of them."""

    anyone: tuple[Clause, ...]
    by_atom: Mapping[Atom, Sequence[Clause]]

    def hits(self, atoms: frozenset[Atom], resolved: Resolved) -> PortSet:
        """Return the ports on which any of them matches whom `atoms` match."""
        found = dict.fromkeys(self.anyone)
        for atom in atoms:
            found.update(dict.fromkeys(self.by_atom.get(atom, ())))
        return union(one.hits(atoms, resolved) for one in found)


def alternatives(clauses: Iterable[Clause]) -> Alternatives:
    """Return clauses by the atoms that they look at."""
    anyone: list[Clause] = []
    by_atom: dict[Atom, list[Clause]] = {}
    for clause in clauses:
        if clause.atoms is None:
            anyone.append(clause)
        for atom in clause.atoms or ():
            by_atom.setdefault(atom, []).append(clause)
    return Alternatives(anyone=tuple(anyone), by_atom=by_atom)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """The clauses of a direction, tier by tier. `network` is None where nothing isolates.

    `own_node` is the atom of the own node's addresses: what they open to a pod is always let in,
    and NetworkPolicy always lets out what a pod opens to them.
    """

    direction: Direction
    admin: tuple[Clause, ...]
    network: Alternatives | None
    baseline: tuple[Clause, ...]
    own_node: Atom | None = None

    def allowed(self, atoms: frozenset[Atom], resolved: Resolved) -> PortSet:
        """Return the ports that are allowed to whom `atoms` match."""
        is_own = self.own_node is not None and self.own_node in atoms
        if is_own and self.direction is Direction.INGRESS:
            return EVERY_PORT
        accepted, left = _tier(self.admin, atoms, resolved, EVERY_PORT)
        if self.network is None:
            more, left = _tier(self.baseline, atoms, resolved, left)
            return accepted | more | left
        if is_own:
            return accepted | left
        return accepted | (left & self.network.hits(atoms, resolved))


def _tier(
    clauses: tuple[Clause, ...], atoms: frozenset[Atom], resolved: Resolved, asked: PortSet
) -> tuple[PortSet, PortSet]:
    """Return what a tier accepts of `asked`, and what it leaves to the next."""
    accepted, passed, left = NOTHING, NOTHING, asked
    for clause in clauses:
        hits = left & clause.hits(atoms, resolved)
        if hits and clause.action is Action.ACCEPT:
            accepted |= hits
        elif hits and clause.action is Action.PASS:
            passed |= hits
        left = left - hits if hits else left
    return accepted, passed | left
