"""An interval of addresses as prefixes, and prefixes as intervals: a trie knows no intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.model.address import Family
from terway.model.policy_maps import NOBODY, ClassNumber, Prefix

Span = tuple[int, int, ClassNumber]  # first, last, class


def prefixes_of(nets: int, family: Family, first: int, last: int) -> Iterator[Prefix]:
    """Yield the fewest prefixes that are together the addresses `first` to `last`."""
    bits = family.max_prefixlen
    while first <= last:
        free = (first & -first).bit_length() - 1 if first else bits
        free = min(free, (last - first + 1).bit_length() - 1)
        yield Prefix(nets, family, first, bits - free)
        first += 1 << free


def spans_of(prefixes: Iterable[tuple[Prefix, ClassNumber]], family: Family) -> tuple[Span, ...]:
    """Return which class addresses have by the longest of their prefixes: ascending, disjoint.

    `prefixes` are of one generation of nets; those of other families do not matter.
    """
    bits = family.max_prefixlen
    found: list[Span] = []
    around: list[Span] = []  # prefixes that hold the place, the shortest first
    place = 0
    for prefix, class_id in sorted(one for one in prefixes if one[0].family is family):
        last = prefix.address + (1 << bits - prefix.length) - 1
        place = _walk(found, around, place, prefix.address)
        around.append((prefix.address, last, class_id))
    _walk(found, around, place, 1 << bits)
    return tuple(one for one in found if one[2] != NOBODY)


def _walk(found: list[Span], around: list[Span], place: int, to: int) -> int:
    """Note what the addresses from `place` up to `to` have; return `to`."""
    while around and place < to:
        _, last, class_id = around[-1]
        end = min(last, to - 1)
        if place <= end:
            found.append((place, end, class_id))
            place = end + 1
        if last < to:
            around.pop()
    return to
