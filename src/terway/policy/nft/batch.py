"""Collects the operations of one change in the order in which the kernel takes them.

Whatever refers to something comes after it, and goes before it: chains and sets, then elements of
sets that rules may not change later, then rules and the elements that lead to chains.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.model.nft import (
    FLAG_CONSTANT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    BaseChain,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    Element,
    FlushChain,
    Operation,
    Rule,
    SetShape,
    Transactions,
)


class Part:
    """The operations of one transaction."""

    def __init__(self) -> None:
        self._objects: list[Operation] = []
        self._constants: list[Operation] = []
        self._flushed: dict[str, None] = {}
        self._rules: list[Operation] = []
        self._shapes: dict[str, SetShape] = {}
        self._less: dict[str, list[Element]] = {}
        self._more: dict[str, list[Element]] = {}
        self._gone_sets: dict[str, None] = {}
        self._gone_chains: dict[str, None] = {}

    def first(self, operation: Operation) -> None:
        """Add what all else needs."""
        self._objects.insert(0, operation)

    def chain(self, name: str, rules: Iterable[Rule], base: BaseChain | None = None) -> None:
        """Make a chain with rules."""
        self._objects.append(AddChain(name, base))
        self._rules += [AddRule(name, rule) for rule in rules]

    def rules(self, name: str, rules: Iterable[Rule]) -> None:
        """Replace the rules of a chain."""
        self._flushed[name] = None
        self._rules += [AddRule(name, rule) for rule in rules]

    def set(self, name: str, shape: SetShape, elements: Iterable[Element] = ()) -> None:
        """Make a set with elements."""
        self._objects.append(AddSet(name, shape))
        if shape.flags & FLAG_CONSTANT:
            self._constants.append(AddElements(name, shape, tuple(elements)))
        else:
            self.add(name, shape, elements)

    def add(self, name: str, shape: SetShape, elements: Iterable[Element]) -> None:
        """Put elements into a set."""
        self._shapes[name] = shape
        self._more.setdefault(name, []).extend(elements)

    def remove(self, name: str, shape: SetShape, elements: Iterable[Element]) -> None:
        """Take elements out of a set; an element of the same key may be put in as well."""
        self._shapes[name] = shape
        self._less.setdefault(name, []).extend(elements)

    def drop_set(self, name: str) -> None:
        """Remove a set."""
        self._gone_sets[name] = None

    def drop_chain(self, name: str) -> None:
        """Remove a chain."""
        self._gone_chains[name] = None

    def replace_chain(self, name: str) -> None:
        """Remove a chain before another of its name is made."""
        self._objects += [FlushChain(name), DeleteChain(name)]

    def operations(self) -> tuple[Operation, ...]:
        """Return them all, in order."""
        shapes = self._shapes
        return (
            *self._objects,
            *self._constants,
            *(FlushChain(name) for name in self._flushed),
            *self._rules,
            *(DeleteElements(n, shapes[n], tuple(e)) for n, e in self._less.items() if e),
            *(AddElements(n, shapes[n], tuple(e)) for n, e in self._more.items() if e),
            *(FlushChain(name) for name in self._gone_chains),
            *(DeleteSet(name) for name in self._gone_sets),
            *(DeleteChain(name) for name in self._gone_chains),
        )


class Batch:
    """The three transactions of a change."""

    def __init__(self) -> None:
        self.make = Part()
        self.switch = Part()
        self.remove = Part()

    def transactions(self) -> Transactions:
        """Return them."""
        return Transactions(
            make=self.make.operations(),
            switch=self.switch.operations(),
            remove=self.remove.operations(),
        )
