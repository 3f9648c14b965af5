"""A set of ports as one word and, where that does not say all, as pages of bits.

The word names the protocols that are allowed as a whole, and the set's number for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from terway.model.policy_maps import PageOf, Word
from terway.policy.cluster import Protocol
from terway.policy.ports import LAST_PORT, Intervals, PortSet

# PORTS_* of bpf/contract.h
WHOLE = {Protocol.TCP: 0x80000000, Protocol.UDP: 0x40000000, Protocol.SCTP: 0x20000000}
OTHER = 0x10000000
SET_MASK = 0x0FFFFFFF
NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}  # /etc/protocols

PAGE_PORTS = 256
PAGE_BYTES = PAGE_PORTS // 8
_WHOLE = ((0, LAST_PORT),)


def whole_protocols(ports: PortSet) -> int:
    """Return the bits of the protocols that are in it as a whole."""
    bits = sum(bit for protocol, bit in WHOLE.items() if ports.of(protocol) == _WHOLE)
    return bits | (OTHER if ports.other else 0)


def print_pages(number: int, ports: PortSet) -> dict[PageOf, bytes]:
    """Return the pages of what is not there as a whole protocol; none where that is all."""
    found: dict[PageOf, bytes] = {}
    for protocol, protocol_number in NUMBERS.items():
        intervals = ports.of(protocol)
        if intervals != _WHOLE:
            for upper, bits in _pages(intervals).items():
                page = PageOf(number, protocol_number, upper)
                found[page] = bits.to_bytes(PAGE_BYTES, "little")
    return found


def _pages(intervals: Intervals) -> dict[int, int]:
    found: dict[int, int] = {}
    for first, last in intervals:
        for upper in range(first // PAGE_PORTS, last // PAGE_PORTS + 1):
            start = upper * PAGE_PORTS
            low, high = max(first - start, 0), min(last - start, PAGE_PORTS - 1)
            found[upper] = found.get(upper, 0) | (1 << (high + 1)) - (1 << low)
    return found


def read_ports(word: Word, pages: Mapping[PageOf, bytes]) -> PortSet:
    """Return the set of ports that a word means; `pages` are those of its number."""
    intervals = {
        protocol: _WHOLE if word & bit else tuple(_read(NUMBERS[protocol], pages))
        for protocol, bit in WHOLE.items()
    }
    return PortSet(
        tcp=intervals[Protocol.TCP],
        udp=intervals[Protocol.UDP],
        sctp=intervals[Protocol.SCTP],
        other=bool(word & OTHER),
    )


def _read(protocol: int, pages: Mapping[PageOf, bytes]) -> Iterator[tuple[int, int]]:
    """Yield the intervals that the pages of a protocol say."""
    bits = 0
    for page, data in pages.items():
        if page.protocol == protocol:
            bits |= int.from_bytes(data, "little") << page.upper * PAGE_PORTS
    place = 0
    while bits >> place:
        first = place + _trailing_zeros(bits >> place)
        place = first + _trailing_zeros(~(bits >> first))
        yield first, place - 1


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def has(word: Word, pages: Mapping[PageOf, bytes], protocol: Protocol, port: int) -> bool:
    """Return whether a word allows a port, as the program finds it."""
    if protocol is Protocol.OTHER:
        return bool(word & OTHER)
    if word & WHOLE[protocol]:
        return True
    page = PageOf(word & SET_MASK, NUMBERS[protocol], port // PAGE_PORTS)
    data = pages.get(page) if page.ports else None
    return data is not None and bool(data[port % PAGE_PORTS // 8] >> port % 8 & 1)
