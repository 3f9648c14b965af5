"""Where does a container's output go? Into files below /var/log/pods, one a run.

<namespace>_<pod>_<uid>/<container>/<restart>.log, both streams as the container wrote them: the
process has the file itself as its stdout and stderr, so nothing is lost when this one is busy.
The CRI's format, with a time before each line, would need somebody to copy every byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGS = Path("/var/log/pods")


def log_folder(namespace: str, name: str, uid: str, container: str) -> Path:
    """Return the folder of one container's log files, as the node sees it."""
    return pod_logs(namespace, name, uid) / container


def pod_logs(namespace: str, name: str, uid: str) -> Path:
    """Return the folder of all logs of a pod."""
    return LOGS / f"{namespace}_{name}_{uid}"


@contextmanager
def open_output(path: Path) -> Iterator[tuple[int, int, int]]:
    """Give stdin, stdout and stderr for a process: nothing to read, and the log file twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        yield null, log, log
    finally:
        os.close(null)
        os.close(log)
