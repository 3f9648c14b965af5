"""A kernel on paper: what a table is after transactions. For offline tools, and for tests.

As strict as the kernel: nothing is made twice, changed where it may not be, or removed while
something refers to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from terway.model.errors import ConflictError
from terway.model.nft import (
    FLAG_CONSTANT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    BaseChain,
    Chain,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    Element,
    FlushChain,
    Operation,
    Rule,
    Set,
    SetShape,
    Table,
    Transactions,
)
from terway.model.nft_rule import Decide, Lookup, Verdict


class PaperKernel:
    """One table, or none."""

    def __init__(self) -> None:
        self._clear()
        self._is_there = False

    def _clear(self) -> None:
        self._bases: dict[str, BaseChain | None] = {}
        self._rules: dict[str, list[Rule]] = {}
        self._shapes: dict[str, SetShape] = {}
        self._elements: dict[str, dict[bytes, Element]] = {}

    def change(self, transactions: Transactions) -> None:
        """Carry out transactions. Raises ConflictError where the kernel would refuse."""
        for part in (transactions.make, transactions.switch, transactions.remove):
            self.apply(part)

    def apply(self, operations: Iterable[Operation]) -> None:
        """Carry out operations; after an error the table is of no use any more."""
        for operation in operations:
            self._apply(operation)

    def read(self, name: str) -> Table | None:
        """Return the table."""
        if not self._is_there:
            return None
        chains = {
            chain: Chain(base=self._bases[chain], rules=tuple(rules))
            for chain, rules in self._rules.items()
        }
        sets = {
            one: Set(shape=shape, elements=frozenset(self._elements[one].values()))
            for one, shape in self._shapes.items()
        }
        return Table(name=name, chains=chains, sets=sets)

    def _apply(self, operation: Operation) -> None:
        match operation:
            case AddTable():
                self._is_there = True
            case DeleteTable():
                _check(self._is_there, "table", "delete")
                self._clear()
                self._is_there = False
            case AddChain(name=name, base=base):
                _check(self._is_there and name not in self._rules, name, "add")
                self._bases[name], self._rules[name] = base, []
            case FlushChain(name=name):
                _check(name in self._rules, name, "flush")
                self._rules[name] = []
            case DeleteChain(name=name):
                is_idle = self._rules.get(name) == [] and name not in self._chains_in_use()
                _check(is_idle, name, "delete")
                del self._rules[name], self._bases[name]
            case AddRule(chain=name, rule=rule):
                _check(name in self._rules and self._is_whole(rule), name, "add rule")
                self._rules[name].append(rule)
            case AddSet() | DeleteSet() | AddElements() | DeleteElements():
                self._apply_to_set(operation)
            case _:
                assert_never(operation)

    def _apply_to_set(self, one: AddSet | DeleteSet | AddElements | DeleteElements) -> None:
        match one:
            case AddSet(name=name, shape=shape):
                _check(self._is_there and name not in self._shapes, name, "add")
                self._shapes[name], self._elements[name] = shape, {}
            case DeleteSet(name=name):
                _check(name in self._shapes and name not in self._sets_in_use(), name, "delete")
                del self._shapes[name], self._elements[name]
            case AddElements(set=name, elements=elements):
                is_free = not self._shapes[name].flags & FLAG_CONSTANT
                _check(is_free or name not in self._sets_in_use(), name, "change")
                for element in elements:
                    _check(self._fits(name, element), name, f"add {element.key.hex()}")
                    self._elements[name][element.key] = element
            case DeleteElements(set=name, elements=elements):
                for element in elements:
                    _check(element.key in self._elements[name], name, "take from")
                    del self._elements[name][element.key]

    def _fits(self, name: str, element: Element) -> bool:
        shape = self._shapes[name]
        is_known = element.verdict is None or self._leads_somewhere(element.verdict)
        is_formed = len(element.key) == shape.key_size and shape.is_map == bool(element.verdict)
        is_new = element.key not in self._elements[name]
        return is_new and is_known and is_formed and shape.is_interval == (element.last is not None)

    def _is_whole(self, rule: Rule) -> bool:
        return all(
            one.set in self._shapes
            if isinstance(one, Lookup)
            else self._leads_somewhere(one.verdict)
            for one in rule
            if isinstance(one, Lookup | Decide)
        )

    def _leads_somewhere(self, verdict: Verdict) -> bool:
        return not verdict.chain or verdict.chain in self._rules

    def _expressions(self) -> Iterator[object]:
        return (one for rules in self._rules.values() for rule in rules for one in rule)

    def _sets_in_use(self) -> set[str]:
        return {one.set for one in self._expressions() if isinstance(one, Lookup)}

    def _chains_in_use(self) -> set[str]:
        decided = {one.verdict.chain for one in self._expressions() if isinstance(one, Decide)}
        elements = (one for each in self._elements.values() for one in each.values())
        return decided | {one.verdict.chain for one in elements if one.verdict is not None}


def _check(is_so: bool, name: str, deed: str) -> None:
    if not is_so:
        raise ConflictError(f"nftables on paper: {deed} {name}: refused")
