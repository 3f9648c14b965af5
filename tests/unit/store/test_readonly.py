"""Reading the journal beside its owner: the same records, and nothing is changed or made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from terway.store.file import JournalFile
from terway.store.readonly import read_journal
from terway.store.records import Batch, StoreError
from tests.support.records import attachment, eni, prefix, slot

BATCH = Batch(put=(attachment(1), slot(2), eni(), prefix()))


def test_a_reader_sees_what_the_owner_has_written_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "terway.db"
    with closing(JournalFile(path)) as owner:
        owner.apply([BATCH])

        assert read_journal(path) == owner.load()


def test_a_reader_sees_what_an_owner_has_left(tmp_path: Path) -> None:
    path = tmp_path / "terway.db"
    with closing(JournalFile(path)) as owner:
        owner.apply([BATCH])
        written = owner.load()

    assert read_journal(path) == written


def test_no_journal_is_said_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no journal"):
        read_journal(tmp_path / "terway.db")

    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "terway.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE x (y)")

    with pytest.raises(StoreError, match="another program"):
        read_journal(path)


def test_another_version_is_refused_and_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "terway.db"
    with closing(JournalFile(path)):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 1")

    with pytest.raises(StoreError, match="version 1 of its tables"):
        read_journal(path)
