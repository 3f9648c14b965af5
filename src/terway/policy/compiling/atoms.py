"""What are the selectors that rules use, each once, and who uses them?

An atom is alive while a policy that is in force uses it. The same selector that comes back
later is another atom: classes are sets of atoms, and a class never means something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from terway.policy.compiled import ClassId, RuleSetId
from terway.policy.compiling.nets import Range, ranges_of
from terway.policy.policies import BlockPeer, NodePeer, PodPeer, PortName


class Special(Enum):
    """Selectors that no policy writes."""

    OWN_NODE = "own node"  # the addresses of the compiler's own node
    NAMED = "named"  # whoever has a port by a name that some rule allows to anyone


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block without its exceptions; blocks that leave the same addresses are equal."""

    ranges: tuple[Range, ...]


What = PodPeer | NodePeer | Block | Special


def what_of(peer: PodPeer | BlockPeer | NodePeer) -> What:
    """Return what a peer selects, in the form that is equal where the selection is."""
    return Block(ranges=ranges_of(peer)) if isinstance(peer, BlockPeer) else peer


@dataclass(slots=True, kw_only=True, eq=False)
class Atom:
    """A selector that is in use; equal only to itself.

    `names` are the port names that rules ask of whom it matches, with the number of rules.
    """

    what: What
    uses: int = 0
    is_known: bool = False
    names: dict[PortName, int] = field(default_factory=dict)
    rule_sets: set[RuleSetId] = field(default_factory=set)
    classes: set[ClassId] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of the atoms since it was last asked."""

    added: tuple[Atom, ...]
    removed: tuple[Atom, ...]
    renamed: dict[PortName, tuple[Atom, ...]]  # the names that atoms are newly, or no more, asked


class AtomTable:
    """The atoms that are in use; `asking` are those of whose pods port names are asked."""

    __slots__ = ("_atoms", "_renamed", "_unsettled", "asking")

    def __init__(self) -> None:
        self.asking: set[Atom] = set()
        self._atoms: dict[What, Atom] = {}
        self._unsettled: dict[Atom, None] = {}
        self._renamed: dict[PortName, dict[Atom, None]] = {}

    def use(self, what: What) -> Atom:
        """Return the atom of a selector, used once more."""
        atom = self._atoms.get(what)
        if atom is None:
            atom = self._atoms[what] = Atom(what=what)
        if not atom.uses:
            self._unsettled[atom] = None
        atom.uses += 1
        return atom

    def leave(self, atom: Atom) -> None:
        """Say that an atom is used once less."""
        atom.uses -= 1
        if not atom.uses:
            self._unsettled[atom] = None

    def use_names(self, atom: Atom, names: Iterable[PortName]) -> None:
        """Say that one more rule asks these port names of whom the atom matches."""
        self.asking.add(atom)
        for name in names:
            if name not in atom.names:
                self._renamed.setdefault(name, {})[atom] = None
            atom.names[name] = atom.names.get(name, 0) + 1

    def leave_names(self, atom: Atom, names: Iterable[PortName]) -> None:
        """Take back what `use_names` said."""
        for name in names:
            atom.names[name] -= 1
            if not atom.names[name]:
                del atom.names[name]
                self._renamed.setdefault(name, {})[atom] = None
        if not atom.names:
            self.asking.discard(atom)

    def settle(self) -> Settled:
        """Return what changed since the last time, and forget the atoms that nobody uses."""
        added = tuple(a for a in self._unsettled if a.uses and not a.is_known)
        unused = [a for a in self._unsettled if not a.uses]
        removed = tuple(a for a in unused if a.is_known)
        for atom in added:
            atom.is_known = True
        for atom in unused:
            del self._atoms[atom.what]
        renamed = {name: tuple(atoms) for name, atoms in self._renamed.items()}
        self._unsettled.clear()
        self._renamed.clear()
        return Settled(added=added, removed=removed, renamed=renamed)
