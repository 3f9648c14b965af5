"""How do overlapping blocks cut the addresses, so that each address needs one look?

Both families are one line of numbers here: IPv4 from 0, IPv6 from `V6_ORIGIN`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Generic, TypeVar

from terway.model.address import Family, IPAddress, IPNetwork
from terway.policy.policies import BlockPeer

V6_ORIGIN = 1 << 128  # beyond every IPv4 address, and a bit that no IPv6 address has

Range = tuple[int, int]  # both ends included

T = TypeVar("T")


def number_of(address: IPAddress) -> int:
    """Return the place of an address on the line."""
    return int(address) if address.version == 4 else int(address) | V6_ORIGIN


def address_of(number: int) -> IPAddress:
    """Return the address at a place of the line."""
    return IPv4Address(number) if number < V6_ORIGIN else IPv6Address(number ^ V6_ORIGIN)


def split(number: int) -> tuple[Family, int]:
    """Return the family of a place, and the address's own number in it."""
    return (Family.V4, number) if number < V6_ORIGIN else (Family.V6, number ^ V6_ORIGIN)


def ranges_of(peer: BlockPeer) -> tuple[Range, ...]:
    """Return the block without its exceptions: ascending, disjoint, never adjacent."""
    start, last = _range_of(peer.block)
    kept: list[Range] = []
    for hole_first, hole_last in sorted(
        _range_of(hole) for hole in peer.excepts if hole.version == peer.block.version
    ):
        if start < hole_first:
            kept.append((start, min(hole_first - 1, last)))
        start = max(start, hole_last + 1)
    if start <= last:
        kept.append((start, last))
    return tuple(kept)


def _range_of(network: IPNetwork) -> Range:
    return number_of(network.network_address), number_of(network.broadcast_address)


class Nets(Generic[T]):
    """Disjoint ranges, ascending, and what covers each; made once and then only read."""

    __slots__ = ("_covers", "_firsts", "_lasts")

    def __init__(self, blocks: Iterable[tuple[T, Iterable[Range]]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._covers: list[frozenset[T]] = []
        steps: dict[int, list[T]] = defaultdict(list)
        for block, ranges in blocks:
            for first, last in ranges:
                steps[first].append(block)
                steps[last + 1].append(block)
        self._sweep(steps)

    def _sweep(self, steps: dict[int, list[T]]) -> None:
        """Walk along the line: a block that is open closes, one that is closed opens."""
        places = sorted(steps)
        open_now: set[T] = set()
        for place, after in pairwise(places):  # nothing is open behind the last
            open_now.symmetric_difference_update(steps[place])
            if open_now:
                self._firsts.append(place)
                self._lasts.append(after - 1)
                self._covers.append(frozenset(open_now))

    def at(self, number: int) -> frozenset[T]:
        """Return what covers an address."""
        i = bisect_right(self._firsts, number) - 1
        if i < 0 or number > self._lasts[i]:
            return frozenset()
        return self._covers[i]

    def __iter__(self) -> Iterator[tuple[int, int, frozenset[T]]]:
        return zip(self._firsts, self._lasts, self._covers, strict=True)
