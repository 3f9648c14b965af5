"""Rule sets as entries of maps: which verdicts and pages are to be there for them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from terway.model.policy_maps import Key, PageOf, Pair, Word
from terway.policy.bpf.numbering import Numbering
from terway.policy.bpf.port_words import PortWords
from terway.policy.compiled import NOBODY, Change, ClassId, RuleSet, RuleSetId
from terway.policy.ports import PortSet

Entry = tuple[Pair, Word, dict[PageOf, bytes]]  # a verdict, and the pages that it needs as first


class RuleBook:
    """What each rule set says to each class; what it says to nobody in particular is NOBODY's."""

    __slots__ = ("_numbering", "_ports", "_rule_sets")

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._ports = PortWords(numbering.ports)
        self._rule_sets: dict[RuleSetId, dict[ClassId, PortSet]] = {}

    def begin(self, rule_sets: Mapping[RuleSetId, RuleSet]) -> Iterator[Entry]:
        """Forget all, and yield what these rule sets are."""
        self._ports.forget_uses()
        self._rule_sets = {}
        for number, rule_set in rule_sets.items():
            yield from self._make(number, rule_set)
        self._ports.forget_unused()

    def take(self, change: Change) -> Iterator[Entry]:
        """Yield what is new. What goes is `leave`: after it, so that both need no other number."""
        for number, rule_set in change.rule_sets.items():
            if rule_set is not None:
                yield from self._make(number, rule_set)
        for (number, class_id), ports in change.verdicts.items():
            if ports is not None:
                yield self._put(number, class_id, ports)

    def leave(self, change: Change) -> Iterator[Key]:
        """Yield what nobody asks for any more."""
        for (number, class_id), ports in change.verdicts.items():
            if ports is None:
                yield from self._drop(number, (class_id,))
        for number, rule_set in change.rule_sets.items():
            if rule_set is None:
                yield from self._drop(number, tuple(self._rule_sets[number]))
                del self._rule_sets[number]

    def _make(self, number: RuleSetId, rule_set: RuleSet) -> Iterator[Entry]:
        self._rule_sets[number] = {}
        yield self._put(number, NOBODY, rule_set.default)
        for class_id, ports in rule_set.verdicts.items():
            yield self._put(number, class_id, ports)

    def _put(self, number: RuleSetId, class_id: ClassId, ports: PortSet) -> Entry:
        self._rule_sets[number][class_id] = ports
        word, pages = self._ports.take(ports)
        return self._pair(number, class_id), word, pages

    def _drop(self, number: RuleSetId, class_ids: Iterable[ClassId]) -> Iterator[Key]:
        for class_id in class_ids:
            yield self._pair(number, class_id)
            yield from self._ports.leave(self._rule_sets[number].pop(class_id))

    def _pair(self, number: RuleSetId, class_id: ClassId) -> Pair:
        return Pair(self._numbering.rule_set(number), self._numbering.class_(class_id))
