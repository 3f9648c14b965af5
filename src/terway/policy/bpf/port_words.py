"""Which sets of ports have a number, and which pages are to be there for them? Counted by use."""

from __future__ import annotations

from collections import Counter

from terway.model.policy_maps import PageOf, Word
from terway.policy.bpf.ports import SET_MASK, print_pages, whole_protocols
from terway.policy.ports import PortSet


class PortWords:
    """Words of sets of ports. A number of a set is never given twice."""

    __slots__ = ("_counts", "_last", "_words")

    def __init__(self, above: int) -> None:
        self._last = above
        self._words: dict[PortSet, Word] = {}
        self._counts: Counter[PortSet] = Counter()

    def forget_uses(self) -> None:
        """Begin to count anew; what is used again keeps its number (`forget_unused`)."""
        self._counts.clear()

    def forget_unused(self) -> None:
        """Have sets that are not used any more get another number when they are."""
        self._words = {ports: word for ports, word in self._words.items() if self._counts[ports]}

    def take(self, ports: PortSet) -> tuple[Word, dict[PageOf, bytes]]:
        """Use a set once more; return its word, and the pages if nobody used it before."""
        self._counts[ports] += 1
        word = self._word(ports)
        is_new = self._counts[ports] == 1 and word & SET_MASK
        return word, print_pages(word & SET_MASK, ports) if is_new else {}

    def leave(self, ports: PortSet) -> frozenset[PageOf]:
        """Use a set once less; return the pages that nobody needs any more."""
        self._counts[ports] -= 1
        if self._counts[ports]:
            return frozenset()
        del self._counts[ports]
        number = self._words.pop(ports) & SET_MASK
        return frozenset(print_pages(number, ports)) if number else frozenset()

    def _word(self, ports: PortSet) -> Word:
        word = self._words.get(ports)
        if word is None:
            word = Word(whole_protocols(ports))
            if _has_rest(ports):
                self._last += 1
                word = Word(word | self._last)
            self._words[ports] = word
        return word


def _has_rest(ports: PortSet) -> bool:
    """Return whether some protocol is there in part."""
    return bool(print_pages(1, ports))
