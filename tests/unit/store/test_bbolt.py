"""Upstream's journal is read as Go's library wrote it, and what is none is refused."""

from __future__ import annotations

import pytest

from terway.model.errors import UsageError
from terway.store.bbolt import read_bucket
from tests.support.bbolt_file import bbolt_file

PAIRS = [(f"default/web-{n}".encode(), f'{{"NetNs": "/proc/{n}"}}'.encode()) for n in range(20)]


@pytest.mark.parametrize("inline", [True, False])
def test_all_pairs_of_a_bucket_are_read(tmp_path, inline):
    path = tmp_path / "ResRelation.db"
    path.write_bytes(bbolt_file(b"relation", PAIRS, inline=inline))

    assert read_bucket(path, b"relation") == dict(PAIRS)
    assert read_bucket(path, b"pods") == {}


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0" * 1000, bytes(16384), bbolt_file(b"x", PAIRS)[:8300]]
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "ResRelation.db"
    path.write_bytes(content)

    with pytest.raises(UsageError):
        read_bucket(path, b"x")
