"""The notes that the plugin leaves while terwayd is away: requests to forget something.

A note's name is the moment at which it was asked: seconds since the machine was started, which
start that was, and the plugin's process id. So a note is never held against a younger attachment,
nor lost on an older one, whatever the clock was set to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from terway.model.errors import TransientError
from terway.model.moment import Moment

# A draft that is this old belongs to a plugin that was killed while it wrote.
_DRAFT_LIFE_S = 300.0

_log = structlog.get_logger("spool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One request that waits."""

    path: Path
    asked_at: Moment
    body: bytes  # a request's, as in cni/protocol.py


class Spool:
    """The folder of notes. A note is there until `done` is called for it.

    Every method raises TransientError when the file system refuses. All of it is a few file
    operations on a folder that is nearly always empty, so it is done in place, not in a thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unreadable: frozenset[str] = frozenset()

    def is_empty(self) -> bool:
        """Return whether nothing waits. One readdir: cheap enough for each ADD."""
        with self._refusals_told(), os.scandir(self._folder) as entries:
            return next(entries, None) is None

    def read(self, *, now: Moment) -> tuple[Note, ...]:
        """Return the notes, oldest first, and clear away what killed plugins left unfinished.

        What cannot be read, and what is no regular file, is left alone, with one warning.
        """
        with self._refusals_told():
            names = os.listdir(self._folder)
        unreadable: set[str] = set()
        notes: list[Note] = []
        for name in names:
            try:
                notes += self._take(name, now)
            except OSError as error:
                unreadable.add(name)
                if name not in self._unreadable:
                    _log.warning("spool.unreadable", note=name, error=str(error))
        self._unreadable = frozenset(unreadable)
        return tuple(sorted(notes, key=lambda note: _age_order(note.asked_at, now)))

    def _take(self, name: str, now: Moment) -> Iterator[Note]:
        """Yield the note `name`, if it is one; remove it if it is a dead plugin's draft."""
        path = self._folder / name
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(f"{path} is no regular file: remove it")
        if not name.startswith("."):
            yield Note(path=path, asked_at=_asked_at(name), body=path.read_bytes())
        elif _is_dead(_asked_at(name[1:]), now):
            path.unlink(missing_ok=True)

    def leave(self, body: bytes, *, now: Moment) -> None:
        """Write a note of our own, about what could not be finished. Durable when it returns."""
        name = f"{now.seconds:020.9f}-{now.boot_id}-{os.getpid()}"
        draft = self._folder / f".{name}"
        with self._refusals_told():
            _write_synced(draft, body)
            draft.rename(self._folder / name)
            _sync_folder(self._folder)

    def done(self, note: Note) -> None:
        """Remove a note that was worked off."""
        with self._refusals_told():
            note.path.unlink(missing_ok=True)

    @contextmanager
    def _refusals_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(f"the notes in {self._folder}: {error}") from error


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _asked_at(name: str) -> Moment:
    # A file that somebody else put here has no time: older than everything, so it harms nobody.
    seconds, _, rest = name.partition("-")
    try:
        return Moment(boot_id=rest.rpartition("-")[0], seconds=float(seconds))
    except ValueError:
        return Moment(boot_id="", seconds=0.0)


def _age_order(asked_at: Moment, now: Moment) -> tuple[bool, float]:
    return asked_at.boot_id == now.boot_id, asked_at.seconds


def _is_dead(begun_at: Moment, now: Moment) -> bool:
    """Return whether the plugin that began to write then cannot be at it any more."""
    return begun_at.boot_id != now.boot_id or begun_at.seconds < now.seconds - _DRAFT_LIFE_S
