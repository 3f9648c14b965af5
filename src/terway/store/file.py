"""The journal's file: is it ours, of a version we know, and sound? Then read and change it.

Everything here blocks, and runs on one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from terway.store import rows
from terway.store.records import Batch, Journal, StoreError

VERSION = 4  # of the tables; kept in PRAGMA user_version
APPLICATION_ID = 0x7E22A701  # tells our file from another SQLite file; PRAGMA application_id

_REMEDY = (
    "its records say which pod has which address, so do not delete it while pods run here: "
    "drain the node, stop terwayd, move the file away, start terwayd"
)


class JournalFile:
    """An open journal. sqlite3's errors become StoreError here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._puts: dict[str, str] = {}  # statements by table
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The thread that writes is not the one that opens; they never overlap.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                self._prepare()
        except StoreError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def setting(self, name: str) -> object:
        """Return the value of a PRAGMA, for whoever doubts it."""
        (value,) = self._db.execute(f"PRAGMA {name}").fetchone()
        return value

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{self._path} is a database of another program: choose another path")
        if version > VERSION:
            raise StoreError(
                f"{self._path} was written by a newer terwayd (version {version} of its tables, "
                f"this one knows {VERSION}): install that terwayd again; {_REMEDY}"
            )
        self._check()
        # FULL: an address that is given out must be on the disk when the pod hears of it.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        # 256 KiB of pages in memory, where the default is 2 MiB: the whole file is hardly larger.
        self._db.execute("PRAGMA cache_size = -256")
        if not tables:
            self._create()
        elif version < VERSION:
            self._migrate(version)

    def _check(self) -> None:
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{self._path} is damaged ({verdict}): {_REMEDY}")

    def _create(self) -> None:
        self._db.executescript(
            f"BEGIN; {rows.SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {VERSION}; COMMIT;"
        )

    def _migrate(self, version: int) -> None:
        """Bring the tables of an earlier terwayd to ours, whole or not at all."""
        steps = "".join(rows.MIGRATIONS[one] for one in range(version, VERSION))
        self._db.executescript(f"BEGIN; {steps} PRAGMA user_version = {VERSION}; COMMIT;")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise StoreError(f"{self._path}: {error}: check the folder and its disk") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path} is damaged ({error}): {_REMEDY}") from error

    def apply(self, batches: Iterable[Batch]) -> list[StoreError | None]:
        """Write `batches` with one flush; return for each why it was left out, or None.

        Raises StoreError when none could be written.
        """
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                verdicts = [self._apply(batch) for batch in batches]
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return verdicts

    def _apply(self, batch: Batch) -> StoreError | None:
        self._db.execute("SAVEPOINT batch")
        try:
            self._change(batch)
        except sqlite3.IntegrityError as error:
            self._db.execute("ROLLBACK TO batch")
            return StoreError(f"{self._path}: a record contradicts another: {error}")
        finally:
            self._db.execute("RELEASE batch")
        return None

    def _change(self, batch: Batch) -> None:
        keys = [(key.container_id, key.ifname) for key in batch.delete_attachments]
        self._each("DELETE FROM attachments WHERE container_id = ? AND ifname = ?", keys)
        self._each("DELETE FROM slots WHERE address = ?", [(str(a),) for a in batch.delete_slots])
        self._each(
            "DELETE FROM prefixes WHERE network = ?", [(str(n),) for n in batch.delete_prefixes]
        )
        self._each("DELETE FROM enis WHERE id = ?", [(one,) for one in batch.delete_enis])
        for table in ("creates", "assigns"):
            tokens = [(one,) for one in batch.delete_intents]
            self._each(f"DELETE FROM {table} WHERE token = ?", tokens)  # noqa: S608 - our own name
        for record in batch.put:
            self._put(rows.TABLE_OF[type(record)], rows.row_of(record))

    def _each(self, statement: str, parameters: Sequence[tuple[str, ...]]) -> None:
        if parameters:
            self._db.executemany(statement, parameters)

    def _put(self, table: str, row: rows.Row) -> None:
        if table not in self._puts:
            self._puts[table] = self._put_statement(table)
        self._db.execute(self._puts[table], row)

    def _put_statement(self, table: str) -> str:
        """Return the upsert of a table. Not REPLACE: that would drop another row, to stay unique.

        The row of another attachment, say, that has the same address.
        """
        columns = [row[1] for row in self._db.execute(f"PRAGMA table_info({table})")]
        key = "container_id, ifname" if table == "attachments" else columns[0]
        marks = ", ".join("?" * len(columns))
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
        return (
            f"INSERT INTO {table} VALUES ({marks}) "  # noqa: S608 - names from our schema
            f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
        )

    def load(self) -> Journal:
        """Return everything, in the order in which it was first written."""
        with self._explained():
            return Journal(
                attachments=tuple(map(rows.parse_attachment, self._all("attachments"))),
                slots=tuple(map(rows.parse_slot, self._all("slots"))),
                enis=tuple(map(rows.parse_eni, self._all("enis"))),
                intents=(
                    *map(rows.parse_create, self._all("creates")),
                    *map(rows.parse_assign, self._all("assigns")),
                ),
                vswitches=tuple(map(rows.parse_vswitch, self._all("vswitches"))),
                prefixes=tuple(map(rows.parse_prefix, self._all("prefixes"))),
                marks=tuple(map(rows.parse_mark, self._all("marks"))),
            )

    def _all(self, table: str) -> sqlite3.Cursor:
        return self._db.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 - our own
