"""The notes that the plugin leaves while terwayd is away: requests to forget something.

A note's name begins with the moment at which it was asked (seconds and nanoseconds since the
epoch), so that names sort by age and a note is never held against a younger attachment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# A draft that is this old belongs to a plugin that was killed while it wrote.
_DRAFT_LIFE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One request that waits. `asked_at` is in seconds since the epoch."""

    path: Path
    asked_at: float
    body: bytes  # a request's, as in cni/protocol.py


class Spool:
    """The folder of notes. A note is there until `done` is called for it.

    Everything here is a few file operations on a folder that is nearly always empty, so it is
    done in place, not in a thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_empty(self) -> bool:
        """Return whether nothing waits. One readdir: cheap enough for each ADD."""
        with os.scandir(self._folder) as entries:
            return next(entries, None) is None

    def read(self, *, now: float) -> tuple[Note, ...]:
        """Return the notes, oldest first, and clear away what killed plugins left unfinished."""
        names = sorted(os.listdir(self._folder))
        for name in names:
            if name.startswith(".") and _asked_at(name[1:]) < now - _DRAFT_LIFE_S:
                (self._folder / name).unlink(missing_ok=True)
        paths = (self._folder / name for name in names if not name.startswith("."))
        return tuple(
            Note(path=path, asked_at=_asked_at(path.name), body=path.read_bytes()) for path in paths
        )

    def leave(self, body: bytes, *, now: float) -> None:
        """Write a note of our own, about what could not be finished. Durable when it returns."""
        name = f"{now:020.9f}-{os.getpid()}"
        draft = self._folder / f".{name}"
        with draft.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._folder / name)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def done(self, note: Note) -> None:
        """Remove a note that was worked off."""
        note.path.unlink(missing_ok=True)


def _asked_at(name: str) -> float:
    # A file that somebody else put here has no time: older than everything, so it harms nobody.
    try:
        return float(name.partition("-")[0])
    except ValueError:
        return 0.0
