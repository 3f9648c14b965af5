"""Where do the records stay that eni-config asks for? In two files of bounded size, for root."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

_log = structlog.get_logger("flows")

MOST_BYTES = 32 * 1024 * 1024  # of each of the two


class KeptFlows:
    """Appends lines to a file; a full one becomes ``.1``, and the one before that goes."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._is_broken = False

    def write(self, lines: str) -> None:
        """Append whole lines. A disk that takes none costs the records, and is told once."""
        if not lines:
            return
        try:
            self._make_room(len(lines))
            self._append(lines.encode())
            self._is_broken = False
        except OSError as error:
            if not self._is_broken:
                _log.warning("flows.not_kept", path=str(self._path), error=str(error))
            self._is_broken = True

    def _make_room(self, length: int) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size and size + length > self._most_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def _append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        opened = os.open(self._path, flags, 0o600)
        try:
            os.write(opened, data)
        finally:
            os.close(opened)
