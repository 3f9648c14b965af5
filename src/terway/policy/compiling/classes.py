"""Which addresses are alike: the same selectors match them, their ports have the same names?"""

from __future__ import annotations

from collections.abc import Iterable

from terway.policy.compiled import ClassId
from terway.policy.compiling.atoms import Atom
from terway.policy.policies import PortName
from terway.policy.ports import PortSet

# The atoms that match, and the numbers of those port names that are asked of them.
ClassKey = tuple[frozenset[Atom], frozenset[tuple[PortName, PortSet]]]


class Classes:
    """The classes in use, by how many holders: hosts and nets. Numbers are never used again."""

    __slots__ = ("_born", "_holders", "_idle", "_ids", "_next", "keys")

    def __init__(self) -> None:
        self._ids: dict[ClassKey, ClassId] = {}
        self._holders: dict[ClassId, int] = {}
        self._born: list[ClassId] = []
        self._idle: dict[ClassId, None] = {}
        self._next = 1
        self.keys: dict[ClassId, ClassKey] = {}

    def hold(self, key: ClassKey) -> ClassId:
        """Return the class of `key`, with one more holder."""
        class_id = self._ids.get(key)
        if class_id is None:
            class_id = self._add(key)
        self._holders[class_id] += 1
        return class_id

    def drop(self, class_id: ClassId) -> None:
        """Say that a class has one holder less."""
        self._holders[class_id] -= 1
        if not self._holders[class_id]:
            self._idle[class_id] = None

    def settle(self) -> tuple[list[ClassId], list[tuple[ClassId, ClassKey]]]:
        """Return the classes that came, and those that went, since the last time."""
        gone = [(one, self.keys[one]) for one in self._idle if not self._holders[one]]
        for class_id, key in gone:
            del self._ids[key], self._holders[class_id], self.keys[class_id]
            _discard(key[0], class_id)
        born, self._born = [one for one in self._born if one in self.keys], []
        self._idle.clear()
        return born, gone

    def _add(self, key: ClassKey) -> ClassId:
        class_id = ClassId(self._next)
        self._next += 1
        self._ids[key] = class_id
        self._holders[class_id] = 0
        self.keys[class_id] = key
        self._born.append(class_id)
        for atom in key[0]:
            atom.classes.add(class_id)
        return class_id


def _discard(atoms: Iterable[Atom], class_id: ClassId) -> None:
    for atom in atoms:
        atom.classes.discard(class_id)
