"""Where does a container's output go? Into files as the CRI has them, one a container.

/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log, each line
``2016-10-06T00:17:09.669794202Z stdout F text`` (P instead of F: the line goes on).
Source: Kubernetes design proposal "CRI: Log management for container stdout/stderr streams".
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path

LOGS = Path("/var/log/pods")
ROTATE_BYTES = 10 * 1024 * 1024  # the kubelet's containerLogMaxSize
_LONGEST_LINE = 16 * 1024  # containerd splits longer ones


def log_folder(namespace: str, name: str, uid: str, container: str) -> Path:
    """Return the folder of one container's log files."""
    return LOGS / f"{namespace}_{name}_{uid}" / container


def log_lines(stream: str, data: bytes, now: float) -> bytes:
    """Return whole lines of output as lines of the log. `now` is seconds since the epoch."""
    moment = datetime.fromtimestamp(now, UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z {stream}".encode()
    return b"".join(stamp + b" F " + line + b"\n" for line in data.splitlines())


class LogFile:
    """One log file, written by both streams of a container."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, stream: str, data: bytes) -> None:
        """Append lines; a file that has grown too big is put aside, the last one is kept."""
        self._file.write(log_lines(stream, data, time.time()))
        if self._file.tell() > ROTATE_BYTES:
            self._file.close()
            self._path.rename(self._path.with_suffix(".log.1"))
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Stream(asyncio.Protocol):
    def __init__(self, log: LogFile, name: str) -> None:
        self._log = log
        self._name = name
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            self._log.write(self._name, whole + newline)
        elif len(self._rest) > _LONGEST_LINE:
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.flush()
        self.ended.set()

    def flush(self) -> None:
        """Write a last line that has no newline."""
        if self._rest:
            self._log.write(self._name, self._rest)
            self._rest = b""


class OutputPipes:
    """The pipes of one run of a container, read into its log until both have ended."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._streams: list[_Stream] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._writers: list[int] = []
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def open(self) -> tuple[int, int, int]:
        """Return stdin, stdout and stderr for the process."""
        loop = asyncio.get_running_loop()
        for name in ("stdout", "stderr"):
            read, write = os.pipe2(os.O_CLOEXEC)
            stream = _Stream(self._log, name)
            self._streams.append(stream)
            self._writers.append(write)
            transport, _ = await loop.connect_read_pipe(
                lambda stream=stream: stream,  # type: ignore[misc]  # bound now, called now
                os.fdopen(read, "rb", 0),
            )
            self._transports.append(transport)
        return self._null, self._writers[0], self._writers[1]

    def release(self) -> None:
        """Close our copies of the process's ends: now its exit ends the pipes."""
        for fd in (self._null, *self._writers):
            os.close(fd)

    async def drain(self) -> None:
        """Wait for the end of both streams, then close the log."""
        try:
            async with asyncio.timeout(1.0):  # a grandchild may hold them open for ever
                for stream in self._streams:
                    await stream.ended.wait()
        except TimeoutError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading and close the log."""
        for transport in self._transports:
            transport.close()
        for stream in self._streams:
            stream.flush()
            stream.ended.set()
        self._log.close()
