"""The elements of a set as netlink attributes, and back.

A set of single fields with intervals is a tree in the kernel: an element begins an interval,
another one, marked, ends it; the last address of the family needs no end. A set of several
fields has both ends in one element. Source: net/netfilter/nft_set_rbtree.c, nft_set_pipapo.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.linux.netlink.codec import attributes, nested
from terway.linux.nfnetlink.expressions import decode_verdict, encode_verdict
from terway.linux.nfnetlink.wire import LIST_ELEM, data, number, read_data, read_number
from terway.model.nft import Element, SetShape

_KEY, _DATA, _FLAGS, _KEY_END = 1, 2, 3, 10
_INTERVAL_END, _CATCHALL = 0x1, 0x2
# A time after which it is gone, what is done at each look-up (a limit, a quota), an object.
_NEVER_OURS = frozenset((4, 5, 7, 9, 11))

# One message's list is an attribute, whose length has 16 bits.
_LIST_BYTES = 60_000

Found = tuple[bytes, bool, Element]  # key, is it an end, the element as shown


def encode_elements(shape: SetShape, elements: Iterable[Element]) -> Iterator[bytes]:
    """Yield lists of elements, each short enough for one message."""
    parts: list[bytes] = []
    size = 0
    for element in elements:
        part = _encode(shape, element)
        if size + len(part) > _LIST_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield b"".join(parts)


def decode_element(payload: bytes) -> Found | None:
    """Return what one item of a list says; None: it is an element such as we never make."""
    found = attributes(payload)
    flags = read_number(found.get(_FLAGS)) or 0
    if flags & _CATCHALL or not _NEVER_OURS.isdisjoint(found):
        return None
    key = read_data(found.get(_KEY))
    last = read_data(found[_KEY_END]) if _KEY_END in found else None
    verdict = decode_verdict(found[_DATA]) if _DATA in found else None
    return key, bool(flags & _INTERVAL_END), Element(key, last, verdict)


def gather(shape: SetShape | None, found: Iterable[Found | None]) -> frozenset[Element]:
    """Return the elements that the items make; those such as we never make are left out."""
    known = (one for one in found if one is not None)
    if shape is None or not shape.is_interval or len(shape.key) > 1:
        return frozenset(element for _key, _is_end, element in known)
    return frozenset(_intervals(sorted(known, key=lambda one: (one[0], not one[1]))))


def _encode(shape: SetShape, element: Element) -> bytes:
    verdict = nested(_DATA, encode_verdict(element.verdict)) if element.verdict else b""
    start = data(_KEY, element.key) + verdict
    if element.last is None:
        return nested(LIST_ELEM, start)
    if len(shape.key) > 1:
        return nested(LIST_ELEM, start, data(_KEY_END, element.last))
    if element.last == b"\xff" * len(element.last):
        return nested(LIST_ELEM, start)
    after = int.from_bytes(element.last, "big") + 1
    end = data(_KEY, after.to_bytes(len(element.last), "big")) + number(_FLAGS, _INTERVAL_END)
    return nested(LIST_ELEM, start) + nested(LIST_ELEM, end)


def _intervals(ordered: list[Found]) -> Iterator[Element]:
    for place, (key, is_end, element) in enumerate(ordered):
        if is_end:
            continue
        following = ordered[place + 1][0] if place + 1 < len(ordered) else b""
        yield Element(key, _before(following, len(key)), element.verdict)


def _before(following: bytes, size: int) -> bytes:
    if not following:
        return b"\xff" * size
    return (int.from_bytes(following, "big") - 1).to_bytes(size, "big")
