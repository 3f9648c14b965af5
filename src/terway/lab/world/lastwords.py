"""What did a node's programs say last that tells what is wrong?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LINES = 3
_ENOUGH_BYTES = 64 * 1024
_FRAME = " |+-"
_GRAVE = frozenset({"warning", "error", "critical"})


def node_trouble(log_dir: str) -> str:
    """Return what explains that a node is not Ready: its own last lines, terwayd's last error."""
    own = _tail(Path(log_dir, "node.log"))[-_LINES:]
    agent = agent_trouble(log_dir)
    words = [f"node.log: {line}" for line in own] + ([f"terwayd.log: {agent}"] if agent else [])
    return "\n  ".join(words) or "it said nothing"


def agent_trouble(log_dir: str) -> str:
    """Return terwayd's last line that tells of an error, empty when there is none."""
    return last_error(_tail(Path(log_dir, "terwayd.log")))


def last_error(lines: Sequence[str]) -> str:
    """Return the last line that is no JSON (a traceback's end), or one of a grave level.

    Tracebacks of exception groups are drawn with a frame, which is left out.
    """
    return next((line.lstrip(_FRAME) for line in reversed(lines) if _is_grave(line)), "")


def _is_grave(line: str) -> bool:
    with suppress(ValueError, AttributeError):
        return json.loads(line).get("level") in _GRAVE
    return bool(line.strip(_FRAME))


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _ENOUGH_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()]
