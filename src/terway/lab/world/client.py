"""How does the command line talk to a lab's process? And how does it start and end one?

Only the standard library: the command line should answer before one has let go of the key.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from terway.lab.world.paths import LabPaths, sweep
from terway.lab.world.plan import LabPlan, plan_to_json
from terway.lab.world.processes import read_record
from terway.model.errors import UsageError

Json = dict[str, Any]
_DOWN_S = 20.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class LabClient:
    """A running lab, from outside."""

    def __init__(self, name: str) -> None:
        self.paths = LabPaths(name=name)

    def request(self, method: str, path: str, body: Json | str | None = None) -> Json:
        """Make a request. UsageError with the lab's words, or when it is not running."""
        text = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        with closing(_UnixConnection(self.paths.control_socket)) as connection:
            try:
                connection.request(method, path, body=text.encode() if text else None)
                answer = connection.getresponse()
                text = answer.read().decode()
            except OSError as error:
                raise self._not_running() from error
        try:
            result: Json = json.loads(text)
        except ValueError:
            result = {"error": f"{text.strip()}; see {self.paths.log}"}
        if "error" in result:
            raise UsageError(result["error"])
        return result

    def _not_running(self) -> UsageError:
        name, failure = self.paths.name, self.paths.failure
        why = f"\nit had been up, and failed: {failure.read_text()}" if failure.exists() else ""
        return UsageError(
            f"lab {name!r} is not running; start it: terway-lab up --name {name}{why}", field="name"
        )

    def status(self) -> Json:
        """Return what is in the lab."""
        return self.request("GET", "/status")

    def words(self, target: str) -> list[str]:
        """Return the words that run a command on a node, or in a pod as namespace/name."""
        words: list[str] = self.request("GET", f"/enter?target={quoted(target)}")["words"]
        return words

    def down(self) -> bool:
        """End the lab and wait for it; False when it was not running. Idempotent."""
        record = read_record(self.paths.pid_file)
        was_alive = record is not None and record.is_alive()
        if record is not None and was_alive:
            fd = os.pidfd_open(record.pid)
            try:
                record.send(signal.SIGTERM)
                if not select.select([fd], [], [], _DOWN_S)[0]:
                    record.send(signal.SIGKILL)
                    select.select([fd], [], [], _DOWN_S)
            finally:
                os.close(fd)
            with suppress(ChildProcessError):  # somebody else started it
                os.waitpid(record.pid, os.WNOHANG)
        self.paths.failure.unlink(missing_ok=True)
        sweep(self.paths.root)
        return was_alive


def quoted(name: str) -> str:
    """Return a name as a part of a request's path, whatever is in it."""
    return quote(name, safe="")


def start_lab(plan: LabPlan, progress: Callable[[str], None], *, tied: bool = False) -> LabClient:
    """Start a lab's process and return when the lab is ready. VpcError when it cannot be.

    With `tied` it ends when this process does.
    """
    if os.geteuid() != 0:
        raise UsageError("a lab makes network namespaces and loads eBPF: run it as root")
    client = LabClient(plan.name)
    if client.paths.is_alive():
        raise UsageError(
            f"lab {plan.name!r} is running; take another --name, or end it: "
            f"terway-lab down --name {plan.name}",
            field="name",
        )
    sweep(client.paths.root)
    read, write = os.pipe()
    # Until it has a folder for its log, it writes into a file without a name.
    with tempfile.TemporaryFile() as early:
        pid = _spawn(plan, write, early.fileno(), tied=tied)
        os.close(write)
        try:
            trouble = _follow(read, progress)
        except BaseException:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            raise
        if trouble is not None:
            _, status = os.waitpid(pid, 0)
            early.seek(0)
            end = os.waitstatus_to_exitcode(status)
            raise UsageError(trouble or _tail(end, early.read(), client.paths.log))
    return client


def _spawn(plan: LabPlan, report: int, log: int, *, tied: bool) -> int:
    """Start the lab's process in a session of its own, and return its id."""
    os.set_inheritable(report, True)
    words = [sys.executable, "-m", "terway.lab.world.serve", plan_to_json(plan), str(report)]
    return os.posix_spawn(
        sys.executable,
        [*words, *([str(os.getpid())] if tied else [])],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
    )


def _follow(read: int, progress: Callable[[str], None]) -> str | None:
    """Read the report; None when the lab is ready, its words, or "", when it is not."""
    with os.fdopen(read) as report:
        for line in report:
            message = json.loads(line)
            if "error" in message:
                return str(message["error"])
            if message.get("ready"):
                return None
            progress(message["step"])
    return ""


def _tail(end: int, early: bytes, log: Path) -> str:
    text = early.decode(errors="replace")
    if log.exists():
        text += log.read_text(errors="replace")
    how = f"exit status {end}" if end >= 0 else f"signal {signal.Signals(-end).name}"
    return f"the lab ended before it was ready, with {how}:\n" + "\n".join(text.splitlines()[-15:])
