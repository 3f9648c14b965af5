"""Into which pieces do address blocks cut the space, and how are pieces written?

Addresses are numbers on the line of `nets`: IPv4 from 0, IPv6 from V6_ORIGIN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from ipaddress import ip_address, summarize_address_range

from terway.model.address import Family, IPAddress
from terway.policy.compiling.nets import V6_ORIGIN, Nets, Range, address_of, number_of, ranges_of
from terway.policy.policies import BlockPeer

Spans = tuple[Range, ...]  # ascending, disjoint, never adjacent

_SPACE: dict[Family, Range] = {
    Family.V4: (0, (1 << 32) - 1),
    Family.V6: (V6_ORIGIN, V6_ORIGIN + (1 << 128) - 1),
}

# Networks for tests between machines and for documentation (RFC 2544, RFC 5737, RFC 3849).
_EXAMPLES = tuple(
    number_of(ip_address(text)) for text in ("198.18.0.1", "203.0.113.1", "2001:db8::1")
)


def nets_of(blocks: Iterable[BlockPeer]) -> Nets[BlockPeer]:
    """Return which of `blocks` have an address."""
    return Nets((peer, ranges_of(peer)) for peer in dict.fromkeys(blocks))


def address_cells(blocks: Iterable[BlockPeer], family: Family) -> tuple[Spans, ...]:
    """Cut the space of a family where `blocks` begin and end; all of it is in the result.

    All addresses of one cell are in the same blocks; those of two cells are not.
    """
    cells: dict[frozenset[BlockPeer], list[Range]] = {}
    for span, covers in _pieces(nets_of(blocks), _SPACE[family]):
        cells.setdefault(covers, []).append(span)
    return tuple(_joined(spans) for spans in cells.values())


def _pieces(nets: Nets[BlockPeer], space: Range) -> Iterator[tuple[Range, frozenset[BlockPeer]]]:
    start, end = space
    for first, last, covers in nets:
        if start <= last and first <= end:
            if start < first:
                yield (start, first - 1), frozenset()
            yield (first, last), covers
            start = last + 1
    if start <= end:
        yield (start, end), frozenset()


def _joined(spans: Iterable[Range]) -> Spans:
    joined: list[Range] = []
    for first, last in spans:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def usual_number(spans: Spans) -> int:
    """Return a number of the spans that a reader takes for an example's, where there is one."""
    example = next((one for one in _EXAMPLES if _has(spans, one)), None)
    if example is not None:
        return example
    first, last = spans[0]
    return min(first + 1, last)


def next_number(spans: Spans, number: int) -> int | None:
    """Return another number of the spans than this one, which is among them; None without."""
    others = (one for span in spans for one in (number + 1, number - 1, *span) if one != number)
    return next((one for one in others if _has(spans, one)), None)


def _has(spans: Spans, number: int) -> bool:
    return any(first <= number <= last for first, last in spans)


def free_number(spans: Spans, taken: Set[int]) -> int | None:
    """Return a number of the spans that is not `taken`; None without.

    One that readers take for an example's where there is one, and a span's very first only if it
    must be: that is an address that few machines have.
    """
    for number in _EXAMPLES:
        if number not in taken and _has(spans, number):
            return number
    for first, last in spans:
        for number in (*range(first + 1, min(last, first + 1 + len(taken)) + 1), first):
            if number not in taken:
                free: int = number
                return free
    return None


def span_texts(spans: Spans) -> tuple[str, ...]:
    """Return spans as people write them: a block where it is one, else `first-last`."""
    return tuple(_span_text(address_of(first), address_of(last)) for first, last in spans)


def _span_text(low: IPAddress, high: IPAddress) -> str:
    if low == high:
        return str(low)
    nets = list(summarize_address_range(low, high))
    return str(nets[0]) if len(nets) == 1 else f"{low}-{high}"


def is_everything(spans: Spans) -> bool:
    """Return whether the spans are a whole family."""
    return spans in [(space,) for space in _SPACE.values()]
