"""What happened in a history, line by line? The same schedule gives the same lines."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog


class Record:
    """The lines of one history, with virtual times. `folder` is where the run's files are.

    Its path differs from run to run, as does the process id, and so neither is written.
    """

    def __init__(self, clock: Callable[[], float], folder: str) -> None:
        self._clock = clock
        self._folder = folder
        self._process = f"-{os.getpid()}"  # in the names of notes
        self.lines: list[str] = []
        self._counts: Counter[str] = Counter()
        self.alarms: list[str] = []  # what the agent said of itself, warnings and worse

    def add(self, who: str, text: str) -> None:
        """Write a line."""
        text = text.replace(self._folder, "").replace(self._process, "")
        self.lines.append(f"{self._clock():.6f} {who} {text}")

    def count(self, what: str) -> int:
        """Return how often this was asked about `what` before: for names that must differ."""
        self._counts[what] += 1
        return self._counts[what]

    def digest(self) -> str:
        """Return the hash of all lines."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    def take_log(self, logger: object, method: str, fields: MutableMapping[str, Any]) -> str:
        """Take a line of the agent's log, as structlog's last processor."""
        event = fields.pop("event")
        facts = " ".join(f"{name}={value}" for name, value in fields.items())
        self.add(method, f"{event} {facts}")
        if method != "info":
            self.alarms.append(f"{event} {facts}".replace(self._folder, ""))
        raise structlog.DropEvent


def record_logs(record: Record) -> Callable[[], None]:
    """Have the agent's log written into `record`; return how to undo that."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, record.take_log],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return lambda: structlog.configure(**before)
