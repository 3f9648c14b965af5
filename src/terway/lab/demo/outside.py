"""A host of the VPC that is no node: who does it see, and whom does it reach?

A process in a network namespace of its own, attached to the lab as an ECS instance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terway.lab import toolbox
from terway.lab.world.client import LabClient
from terway.model.errors import TransientError

_NAME = "outside"
_TOOL = ("python3", "-I", "-S")
_REACH_S = 2.0  # a packet that is dropped is never answered
_SERVE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideHost:
    """The host. `address` is of its primary ENI."""

    pid: int
    address: str

    def tool_words(self, *arguments: str) -> list[str]:
        """Return the words that run the lab's tool on this host."""
        enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]
        return [*enter, *_TOOL, str(_tool()), *arguments]

    def reaches(self, address: str) -> bool:
        """Return whether a connection to a serving pod's own address comes about."""
        return answer_of(self.tool_words("whoami", address), within_s=_REACH_S) is not None

    def seen_from(self, words: Sequence[str]) -> str:
        """Return the address under which the one who runs `words` (a tool) comes here."""
        deadline = time.monotonic() + _SERVE_S
        while (found := answer_of([*words, "whoami", self.address], within_s=_REACH_S)) is None:
            if time.monotonic() > deadline:
                raise TransientError(f"{self.address}, outside of the cluster, does not answer")
        return str(found["peer"])


@contextmanager
def outside_host(client: LabClient) -> Iterator[OutsideHost]:
    """Attach a host to the lab for the block. It serves the lab's tool."""
    words = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    serve = [sys.executable, "-I", "-S", str(_tool()), "serve"]
    with subprocess.Popen([*words, *serve]) as process:
        try:
            _wait_for_namespace(process.pid)
            netns = f"/proc/{process.pid}/ns/net"
            made = client.request("POST", "/instances", {"name": _NAME, "netns": netns})
            try:
                yield OutsideHost(pid=process.pid, address=made["addresses"][0])
            finally:
                client.request("DELETE", f"/instances/{_NAME}")
        finally:
            process.terminate()


def _tool() -> Path:
    return toolbox.FOLDER / "tool.py"


def _wait_for_namespace(pid: int) -> None:
    deadline = time.monotonic() + _SERVE_S
    while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        if time.monotonic() > deadline:
            raise TransientError("unshare(1) made no network namespace")
        time.sleep(0.01)


def answer_of(words: Sequence[str], *, within_s: float) -> dict[str, Any] | None:
    """Return what a tool says that runs by `words`, None when it fails or says nothing in time."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=within_s)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
