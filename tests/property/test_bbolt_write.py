"""Whatever is written into a bbolt file is read from it again."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.store.bbolt import read_bucket
from terway.store.bbolt_write import PAGE_BYTES, bbolt_bytes, write_buckets


def of_size(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """Bytes of such a size, a few drawn ones again and again: drawing them all is too much."""
    return st.builds(
        lambda some, size: (some * size)[:size], st.binary(min_size=1, max_size=8), sizes
    )


keys = st.binary(min_size=1, max_size=20) | of_size(st.integers(1, 600))
values = st.binary(max_size=64) | of_size(st.integers(5000, 9000))
buckets = st.dictionaries(keys, st.dictionaries(keys, values, max_size=30), max_size=3)


@settings(max_examples=50, deadline=None)
@given(buckets)
def test_what_was_written_is_read_again(wanted):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "some.db"
        write_buckets(path, wanted)

        assert {name: read_bucket(path, name) for name in wanted} == wanted


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=0, max_value=20_000))
def test_a_file_of_any_size_is_whole_pages(count):
    pairs = {f"default/pod-{number}".encode(): b"{}" for number in range(count)}

    assert len(bbolt_bytes({b"relation": pairs})) % PAGE_BYTES == 0
