"""What does ip(8) say, once nothing has changed while it was asking?"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Protocol

# What ip(8) says beside an answer that may be half old and half new; it succeeds all the same.
_INTERRUPTED = "Dump was interrupted and may be inconsistent."


class Place(Protocol):
    """Where commands can be run: a node, or a pod. Gives what they print, errors included."""

    async def exec(self, *command: str) -> str:
        """Run a command."""


async def ip_in(place: Place, *words: str) -> list[dict[str, Any]]:
    """Return what `ip -j` answers there."""
    while _INTERRUPTED in (said := await place.exec("ip", "-j", *words)):
        pass
    return _parsed(said)


def ip_here(*words: str, netns: str = "") -> list[dict[str, Any]]:
    """Return what `ip -j` answers in our own network namespace, or in another by its path."""
    command = [*(("nsenter", f"--net={netns}") if netns else ()), "ip", "-j", *words]
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if _INTERRUPTED not in done.stderr:
            return _parsed(done.stdout)


def _parsed(said: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return found
