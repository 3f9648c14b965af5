"""Bbolt files as Go's library lays them out, for tests of what reads them."""

from __future__ import annotations

import struct

PAGE = 4096
_HEADER = struct.Struct("<QHHI")


def _leaf(number, pairs, *, kind=0):
    elements, body = b"", b""
    for index, (key, value) in enumerate(pairs):
        position = (len(pairs) - index) * 16 + len(body)
        elements += struct.pack("<IIII", kind, position, len(key), len(value))
        body += key + value
    return _HEADER.pack(number, 2, len(pairs), 0) + elements + body


def _branch(number, children):
    elements, body = b"", b""
    for index, (key, page) in enumerate(children):
        position = (len(children) - index) * 16 + len(body)
        elements += struct.pack("<IIQ", position, len(key), page)
        body += key
    return _HEADER.pack(number, 1, len(children), 0) + elements + body


def _meta(number, root, txid):
    body = struct.pack("<IIIIQQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 2, 9, txid, 0)
    return _HEADER.pack(number, 4, 0, 0) + body


def bbolt_file(name: bytes, pairs, *, inline: bool = False) -> bytes:
    """Return a file with one bucket: in the bucket's own value, or in two leaves under a branch."""
    pairs = sorted(pairs)
    half = len(pairs) // 2
    bucket = struct.pack("<QQ", 0, 0) + _leaf(0, pairs) if inline else struct.pack("<QQ", 4, 0)
    first, second = pairs[:half], pairs[half:]
    pages = [
        _meta(0, 7, 1),  # older: its root is wrong
        _meta(1, 3, 2),
        _HEADER.pack(2, 0x10, 0, 0),  # the free list
        _leaf(3, [(name, bucket)], kind=1),
        _branch(4, [(part[0][0], page) for part, page in ((first, 5), (second, 6)) if part]),
        _leaf(5, first),
        _leaf(6, second),
    ]
    return b"".join(page.ljust(PAGE, b"\0") for page in pages)
