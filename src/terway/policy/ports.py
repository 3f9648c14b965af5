"""Sets of (protocol, port), and their algebra. Exact: intervals, never prefixes.

A protocol without ports is the one number 0 of Protocol.OTHER.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.policy.cluster import Protocol

LAST_PORT = 65535

# Ascending, disjoint, never adjacent; both ends included.
Intervals = tuple[tuple[int, int], ...]
_EVERY: Intervals = ((0, LAST_PORT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSet:
    """A set of (protocol, port). Equal sets are equal values: intervals are in normal form."""

    tcp: Intervals = ()
    udp: Intervals = ()
    sctp: Intervals = ()
    other: bool = False

    def __bool__(self) -> bool:
        return bool(self.tcp or self.udp or self.sctp or self.other)

    def __or__(self, more: PortSet) -> PortSet:
        return PortSet(
            tcp=_union(self.tcp, more.tcp),
            udp=_union(self.udp, more.udp),
            sctp=_union(self.sctp, more.sctp),
            other=self.other or more.other,
        )

    def __and__(self, more: PortSet) -> PortSet:
        return PortSet(
            tcp=_intersection(self.tcp, more.tcp),
            udp=_intersection(self.udp, more.udp),
            sctp=_intersection(self.sctp, more.sctp),
            other=self.other and more.other,
        )

    def __sub__(self, less: PortSet) -> PortSet:
        return self & less.complement()

    def complement(self) -> PortSet:
        """Return everything that is not in it."""
        return PortSet(
            tcp=_complement(self.tcp),
            udp=_complement(self.udp),
            sctp=_complement(self.sctp),
            other=not self.other,
        )

    def has(self, protocol: Protocol, port: int) -> bool:
        """Return whether the port is in it; for OTHER the port does not matter."""
        if protocol is Protocol.OTHER:
            return self.other
        return any(first <= port <= last for first, last in self.of(protocol))

    def of(self, protocol: Protocol) -> Intervals:
        """Return the intervals of a protocol; of OTHER (0, 0) or none."""
        match protocol:
            case Protocol.TCP:
                return self.tcp
            case Protocol.UDP:
                return self.udp
            case Protocol.SCTP:
                return self.sctp
            case Protocol.OTHER:
                return ((0, 0),) if self.other else ()

    def __iter__(self) -> Iterator[tuple[Protocol, int, int]]:
        for protocol in Protocol:
            for first, last in self.of(protocol):
                yield protocol, first, last


NOTHING = PortSet()
EVERY_PORT = PortSet(tcp=_EVERY, udp=_EVERY, sctp=_EVERY, other=True)


def ports_of(protocol: Protocol, first: int, last: int) -> PortSet:
    """Return the ports `first` to `last` of one protocol."""
    match protocol:
        case Protocol.TCP:
            return PortSet(tcp=((first, last),))
        case Protocol.UDP:
            return PortSet(udp=((first, last),))
        case Protocol.SCTP:
            return PortSet(sctp=((first, last),))
        case Protocol.OTHER:
            return PortSet(other=True)


def union(sets: Iterable[PortSet]) -> PortSet:
    """Return what is in any of `sets`."""
    found = NOTHING
    for one in sets:
        found |= one
    return found


def _union(left: Intervals, right: Intervals) -> Intervals:
    if not left or not right:
        return left or right
    merged: list[tuple[int, int]] = []
    for first, last in sorted(left + right):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _intersection(left: Intervals, right: Intervals) -> Intervals:
    if left == _EVERY or not right:
        return right
    if right == _EVERY or not left:
        return left
    common = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return tuple(sorted((first, last) for first, last in common if first <= last))


def _complement(intervals: Intervals) -> Intervals:
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in intervals:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= LAST_PORT:
        gaps.append((start, LAST_PORT))
    return tuple(gaps)
