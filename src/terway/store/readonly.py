"""How is the journal read by somebody who must not change it, while terwayd has it open or not?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from terway.store import rows
from terway.store.file import APPLICATION_ID, VERSION
from terway.store.records import Journal, StoreError


def read_journal(path: Path) -> Journal:
    """Return everything in the journal at `path`.

    Raises StoreError when there is none, when it is not a journal, or of another version: nothing
    is migrated here.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no journal: terwayd has not run on this node")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return _read(db, path)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def _read(db: sqlite3.Connection, path: Path) -> Journal:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program")
    if version != VERSION:
        text = f"{path} has version {version} of its tables, this tool knows {VERSION}"
        raise StoreError(f"{text}: use the terway-cli of the terwayd that runs here")

    def every(table: str) -> sqlite3.Cursor:
        return db.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 - our own names

    return Journal(
        attachments=tuple(map(rows.parse_attachment, every("attachments"))),
        slots=tuple(map(rows.parse_slot, every("slots"))),
        prefixes=tuple(map(rows.parse_prefix, every("prefixes"))),
        enis=tuple(map(rows.parse_eni, every("enis"))),
        intents=(
            *map(rows.parse_create, every("creates")),
            *map(rows.parse_assign, every("assigns")),
        ),
        vswitches=tuple(map(rows.parse_vswitch, every("vswitches"))),
    )
