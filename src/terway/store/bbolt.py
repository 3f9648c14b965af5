"""What is in a bbolt file: just enough to tell what upstream Terway's journal holds. Read only.

meta page ──► root bucket ──► a bucket of a name ──► branch pages ──► leaf pages: keys and values

Source: go.etcd.io/bbolt v1.3, page.go, bucket.go, db.go; everything is little-endian, as on every
machine that upstream's images are built for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from terway.model.errors import UsageError

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root, sequence, …, txid
_LEAF = struct.Struct("<IIII")  # flags, position, key size, value size
_BRANCH = struct.Struct("<IIQ")  # position, key size, page
_BUCKET = struct.Struct("<QQ")  # root page, sequence
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF = 0x01, 0x02
_IS_BUCKET = 0x01
_MAX_BYTES = 64 * 1024 * 1024
_MAX_DEPTH = 32


def read_bucket(path: Path, name: bytes) -> dict[bytes, bytes]:
    """Return the keys and values of a bucket at the top; empty when there is no such bucket.

    Raises UsageError when the file is no bbolt file, or broken; OSError when it cannot be read.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path} is larger than any journal of Terway", field=str(path))
    data = path.read_bytes()
    try:
        root, page_bytes = _newest_meta(data)
        for key, value, flags in _walk(data, root, page_bytes, _MAX_DEPTH):
            if key == name and flags & _IS_BUCKET:
                return dict(_pairs(data, value, page_bytes))
    except (struct.error, IndexError) as error:
        raise UsageError(f"{path} is a broken bbolt file: {error}", field=str(path)) from error
    return {}


def _newest_meta(data: bytes) -> tuple[int, int]:
    """Return the root's page and the size of pages; two metas take turns, the newer one counts."""
    page_bytes = _META.unpack_from(data, _PAGE.size)[2]
    found = []
    for start in (0, page_bytes):
        magic, version, _, _, root, _, _, _, txid = _META.unpack_from(data, start + _PAGE.size)
        if (magic, version) == (_MAGIC, _VERSION):
            found.append((txid, root))
    if not found:
        raise UsageError("not a bbolt file")
    return max(found)[1], page_bytes


def _pairs(data: bytes, bucket: bytes, page_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    root, _ = _BUCKET.unpack_from(bucket)
    # A small bucket has its only page behind its header.
    whole = (bucket[_BUCKET.size :], 0) if root == 0 else (data, root)
    for key, value, flags in _walk(whole[0], whole[1], page_bytes, _MAX_DEPTH):
        if not flags & _IS_BUCKET:
            yield key, value


def _walk(
    data: bytes, page: int, page_bytes: int, depth: int
) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield keys, values and flags of the tree under a page."""
    start = page * page_bytes
    _, flags, count, _ = _PAGE.unpack_from(data, start)
    if depth == 0:
        raise IndexError("the tree has a loop")
    for number in range(count):
        if flags & _IS_LEAF:
            at = start + _PAGE.size + number * _LEAF.size
            kind, position, key_bytes, value_bytes = _LEAF.unpack_from(data, at)
            key_at = at + position
            value_at = key_at + key_bytes
            yield data[key_at:value_at], data[value_at : value_at + value_bytes], kind
        elif flags & _IS_BRANCH:
            at = start + _PAGE.size + number * _BRANCH.size
            _, _, child = _BRANCH.unpack_from(data, at)
            yield from _walk(data, child, page_bytes, depth - 1)
