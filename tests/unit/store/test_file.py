"""A file that cannot be trusted is refused, with the remedy; writes that coincide share a flush."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from terway.store.file import VERSION, JournalFile
from terway.store.records import Batch, StoreError
from terway.store.sqlite import SqliteStore, open_store
from tests.support.records import attachment


def refusal(path) -> str:
    with pytest.raises(StoreError) as caught:
        JournalFile(path)
    return str(caught.value)


def test_a_damaged_file_is_refused_and_the_remedy_named(tmp_path):
    path = tmp_path / "terway.db"
    path.write_bytes(b"this is no database, and it never was one" * 100)

    text = refusal(path)

    assert str(path) in text
    assert "drain the node" in text


async def test_a_file_damaged_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "terway.db"
    with open_store(path) as store:
        await store.write(Batch(put=tuple(attachment(number) for number in range(200))))
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 8192
    path.write_bytes(content)

    assert "is damaged" in refusal(path)


def test_the_file_of_a_newer_version_is_refused(tmp_path):
    """Bug class 20: a downgrade."""
    path = tmp_path / "terway.db"
    JournalFile(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()

    assert "written by a newer terwayd" in refusal(path)


async def test_the_file_of_an_older_version_keeps_its_attachments(tmp_path):
    """Bug class 20: an upgrade."""
    path = tmp_path / "terway.db"
    with open_store(path) as store:
        await store.write(Batch(put=(attachment(1),)))
    db = sqlite3.connect(path)
    db.executescript(
        "ALTER TABLE attachments DROP COLUMN spec; DROP TABLE prefixes; DROP TABLE marks;"
        "ALTER TABLE enis DROP COLUMN own_group_ids; ALTER TABLE enis DROP COLUMN is_erdma;"
        "ALTER TABLE creates DROP COLUMN ipv4_prefixes;"
        "ALTER TABLE creates DROP COLUMN ipv6_prefixes;"
        "ALTER TABLE creates DROP COLUMN is_erdma;"
        "ALTER TABLE creates DROP COLUMN has_own_groups;"
        "ALTER TABLE creates DROP COLUMN is_trunk;"
        "ALTER TABLE assigns DROP COLUMN is_prefix; PRAGMA user_version = 1;"
    )
    db.close()

    with open_store(path) as store:
        journal = await store.load()

    assert journal.attachments == (attachment(1),)


def test_the_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "terway.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()

    assert "another program" in refusal(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    assert "check the folder" in refusal(tmp_path / "file" / "terway.db")


def test_every_commit_reaches_the_disk_before_it_returns(tmp_path):
    file = JournalFile(tmp_path / "terway.db")

    settings = {name: file.setting(name) for name in ("journal_mode", "synchronous")}

    file.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


async def test_writes_that_coincide_share_one_commit(tmp_path):
    groups: list[int] = []

    class Counted(JournalFile):
        def apply(self, batches):
            batches = list(batches)
            groups.append(len(batches))
            return super().apply(batches)

    file = Counted(tmp_path / "terway.db")
    store = SqliteStore(file)
    writes = [store.write(Batch(put=(attachment(number),))) for number in range(8)]
    store.stop()
    store.serve()  # the thread's life, here and now
    await asyncio.gather(*writes)

    file.close()
    assert groups == [8]


async def test_what_is_queued_when_the_store_closes_is_written(tmp_path):
    path = tmp_path / "terway.db"
    with open_store(path) as store:
        write = store.write(Batch(put=(attachment(1),)))
    await write

    with open_store(path) as store:
        assert len((await store.load()).attachments) == 1
