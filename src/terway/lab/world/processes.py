"""Is a process that we recorded still that process?

A process id alone is no name: it is given again. With the start time it is.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process: its id, and its start in clock ticks after boot (proc(5), stat, field 22)."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        return start_ticks(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False when the process is gone.

        Over a pidfd: between looking and sending, the id cannot become somebody else's.
        """
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True

    def write(self, path: Path) -> None:
        """Write the record whole."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        draft.rename(path)


def read_record(path: Path) -> ProcessRecord | None:
    """Return the record at `path`; None when there is none, or one cut short by a crash."""
    try:
        return ProcessRecord(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def record_of(pid: int) -> ProcessRecord | None:
    """Return the record of a running process, None when there is no such process."""
    ticks = start_ticks(pid)
    return ProcessRecord(pid=pid, start_ticks=ticks) if ticks is not None else None


def start_ticks(pid: int) -> int | None:
    """Return when a process started, None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
