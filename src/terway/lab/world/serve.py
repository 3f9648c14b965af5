"""How does a lab run in the background? One process, started by ``terway-lab up``.

``python -m terway.lab.world.serve PLAN_JSON REPORT_FD [PARENT_PID]``. It reports its progress as
JSON lines on REPORT_FD until the lab is ready, or says why it cannot be. With PARENT_PID it ends
when the process that started it does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from terway.lab.kubeapi.serve import Listener, open_listener
from terway.lab.node import syscalls as sys_
from terway.lab.world.control import Control
from terway.lab.world.failures import explain
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.paths import LabPaths, sweep
from terway.lab.world.plan import LabPlan, plan_from_json


class Report:
    """The pipe to whoever waits for the lab, and the log."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @property
    def is_heard(self) -> bool:
        """Whether somebody may still be listening."""
        return self._fd is not None

    def say(self, **facts: object) -> None:
        """Send one line; nobody may be listening any more."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {json.dumps(facts)}\n")
        sys.stderr.flush()
        if self._fd is not None:
            try:
                os.write(self._fd, json.dumps(facts).encode() + b"\n")
            except OSError:
                self.close()

    def close(self) -> None:
        """End the report."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


async def serve(plan: LabPlan, report: Report) -> None:
    """Run the lab until SIGTERM, SIGINT or the command ``down``."""
    down = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, down.set)
    paths = LabPaths(name=plan.name)
    sweep(paths.root)
    paths.make()
    _log_to(paths.log)

    def progress(text: str) -> None:
        report.say(step=text)

    async with open_lab(plan, paths=paths, progress=progress, ready=False) as lab:
        listener = Listener(app=Control(lab, down).app(), unix_path=paths.control_socket)
        async with open_listener(listener), asyncio.TaskGroup() as tasks:
            begin = tasks.create_task(_begin(lab, report))
            ends = [tasks.create_task(down.wait()), tasks.create_task(lab.tasks.failed.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (begin, *ends):
                task.cancel()


def _log_to(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


async def _begin(lab: Lab, report: Report) -> None:
    await lab.wait_begun()
    report.say(ready=True)
    report.close()


def main(argv: list[str]) -> int:
    """Run a lab; the exit status says whether it ended in order."""
    plan_text, report_fd, *tied = argv
    if tied:
        sys_.die_with_parent(signal.SIGTERM)
        if os.getppid() != int(tied[0]):
            return 1  # it died before the line above
    # What the fabric mounts stays ours; what the user mounts later is seen here all the same.
    sys_.unshare(sys_.CLONE_NEWNS)
    sys_.mount("none", "/", flags=sys_.MS_REC | sys_.MS_SLAVE)
    report = Report(int(report_fd))
    plan = plan_from_json(plan_text)
    try:
        uvloop.run(serve(plan, report))
    except Exception as error:  # whatever it was: the log is gone with the lab's folder
        _tell(LabPaths(name=plan.name), report, explain(error))
        return 1
    return 0


def _tell(paths: LabPaths, report: Report, words: str) -> None:
    """Report a failure, or keep it for the next command when the lab had been up."""
    if report.is_heard:
        report.say(error=words)
    else:
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.failure.write_text(words + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
