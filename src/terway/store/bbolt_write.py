"""How is a bbolt file written, so that upstream Terway finds its journal again? Whole, at once.

pages 0, 1   meta, both: the newer one counts, its checksum is FNV-1a
page 2       the list of free pages: none
then         each bucket: leaves with keys and values in order, and branches above them; what does
             not fit a page runs on into the next ones (overflow)
at the end   the root: each bucket's name, and the page where its tree begins

Source: go.etcd.io/bbolt v1.3, page.go, bucket.go, db.go, freelist.go. Little-endian, 4096 bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PAGE_BYTES = 4096

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root, sequence, …, txid
_LEAF = struct.Struct("<IIII")  # flags, position, key size, value size
_BRANCH = struct.Struct("<IIQ")  # position, key size, page
_BUCKET = struct.Struct("<QQ")  # root page, sequence
_NUMBER = struct.Struct("<Q")  # of a page; the checksum
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF, _IS_META, _IS_FREE_LIST = 0x01, 0x02, 0x04, 0x10
_IS_BUCKET = 0x01
_FREE_LIST, _FIRST = 2, 3
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

_Pair = tuple[bytes, bytes]


def write_buckets(path: Path, buckets: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
    """Make `path` a bbolt file with these buckets. After a crash the old file is there, or this.

    Nobody may have the old one open: bbolt keeps its file mapped.
    """
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(bbolt_bytes(buckets))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def bbolt_bytes(buckets: Mapping[bytes, Mapping[bytes, bytes]]) -> bytes:
    """Return the contents of a bbolt file with these buckets."""
    pages = _Pages()
    roots = {name: pages.tree(sorted(pairs.items())) for name, pairs in buckets.items()}
    entries = [(name, _BUCKET.pack(root, 0)) for name, root in sorted(roots.items())]
    root = pages.tree(entries, kind=_IS_BUCKET)
    metas = b"".join(_meta(number, root, pages.end) for number in (0, 1))
    free = _PAGE.pack(_FREE_LIST, _IS_FREE_LIST, 0, 0).ljust(PAGE_BYTES, b"\0")
    return metas + free + bytes(pages.data)


class _Pages:
    """Pages from the fourth on, in the order in which they were made."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def end(self) -> int:
        """Return the number of the next page."""
        return _FIRST + len(self.data) // PAGE_BYTES

    def tree(self, pairs: Sequence[_Pair], *, kind: int = 0) -> int:
        """Write the tree of `pairs`, which are in order; return the page of its root."""
        level = [self._leaf(group, kind) for group in _groups(pairs, _LEAF.size)]
        while len(level) > 1:
            named = [(key, _NUMBER.pack(page)) for key, page in level]
            level = [self._branch(group) for group in _groups(named, _BRANCH.size)]
        return level[0][1]

    def _leaf(self, pairs: Sequence[_Pair], kind: int) -> tuple[bytes, int]:
        elements, body = b"", b""
        for index, (key, value) in enumerate(pairs):
            position = (len(pairs) - index) * _LEAF.size + len(body)
            elements += _LEAF.pack(kind, position, len(key), len(value))
            body += key + value
        return _first_key(pairs), self._add(_IS_LEAF, len(pairs), elements + body)

    def _branch(self, pairs: Sequence[_Pair]) -> tuple[bytes, int]:
        elements, body = b"", b""
        for index, (key, page) in enumerate(pairs):
            position = (len(pairs) - index) * _BRANCH.size + len(body)
            elements += _BRANCH.pack(position, len(key), *_NUMBER.unpack(page))
            body += key
        return _first_key(pairs), self._add(_IS_BRANCH, len(pairs), elements + body)

    def _add(self, flags: int, count: int, content: bytes) -> int:
        number = self.end
        pages = -(-(_PAGE.size + len(content)) // PAGE_BYTES)
        page = _PAGE.pack(number, flags, count, pages - 1) + content
        self.data += page.ljust(pages * PAGE_BYTES, b"\0")
        return number


def _first_key(pairs: Sequence[_Pair]) -> bytes:
    return pairs[0][0] if pairs else b""


def _groups(pairs: Sequence[_Pair], element_bytes: int) -> Iterable[Sequence[_Pair]]:
    """Yield runs of pairs that fit a page; one that is larger than a page is a run by itself.

    At least one run, which may be empty: an empty bucket has a leaf without keys. A branch has two
    children at least, or the tree above it would never end.
    """
    least = 2 if element_bytes == _BRANCH.size and len(pairs) > 1 else 1
    run: list[_Pair] = []
    used = _PAGE.size
    for key, value in pairs:
        size = element_bytes + len(key) + len(value)
        if len(run) >= least and used + size > PAGE_BYTES:
            yield run
            run, used = [], _PAGE.size
        run.append((key, value))
        used += size
    yield run


def _meta(number: int, root: int, end: int) -> bytes:
    body = _META.pack(_MAGIC, _VERSION, PAGE_BYTES, 0, root, 0, _FREE_LIST, end, number)
    page = _PAGE.pack(number, _IS_META, 0, 0) + body + _NUMBER.pack(_fnv1a(body))
    return page.ljust(PAGE_BYTES, b"\0")


def _fnv1a(data: bytes) -> int:
    found = _FNV_OFFSET
    for byte in data:
        found = ((found ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return found
