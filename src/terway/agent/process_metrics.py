"""What does this process itself use? The names are those of Prometheus' own client libraries."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from terway.model.exposition import Counter, Gauge, Metric

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def process_metrics() -> Iterator[Metric]:
    """Yield memory, CPU, files and start of this process."""
    used = os.times()
    yield Counter(
        name="process_cpu_seconds_total",
        text="user and system CPU seconds",
        values={(): used.user + used.system},
    )
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    yield _gauge("process_resident_memory_bytes", "resident memory", resident)
    yield _gauge("process_open_fds", "open file descriptors", len(os.listdir("/proc/self/fd")))
    yield _gauge("process_start_time_seconds", "start, in seconds since the epoch", _start())


def _start() -> float:
    # Field 22 counts ticks since the machine was started; names may hold blanks and brackets.
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - since_boot + int(stat[19]) / _TICKS


def _gauge(name: str, text: str, value: float) -> Gauge:
    return Gauge(name=name, text=text, values={(): value})
