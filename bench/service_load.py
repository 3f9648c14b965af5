"""What does it cost terwayd to know thousands of services: all of them, and one endpoint more?

Each measurement runs in a process of its own (`bench.service_load_child`), with all that terwayd
loads, so that memory and times are its own. Pages are as the API server sends them.
"""

from __future__ import annotations

import asyncio
import json
import sys

from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute

LOAD_S, UPDATE_MS, RSS_MB = "svc.load_s@30k", "svc.update_ms@10k", "agent.rss_mb@30k"

# figure: what is measured, its limit, its unit, the child's word
_SUBJECTS = {
    LOAD_S: ("30,000 services of 4 endpoints, from pages to maps: CPU time", 3.0, "s", "load"),
    UPDATE_MS: ("one endpoint of 10,000 services, from event to kernel, p99", 5.0, "ms", "update"),
    RSS_MB: ("terwayd's memory with 30,000 services, but for maps", 120.0, "MB", "load"),
}


async def measure(order: Order) -> list[Record]:
    """Load all, then change one."""
    measured: dict[str, float] = {}
    for word in sorted({one[3] for figure, one in _SUBJECTS.items() if order.wants(figure)}):
        measured.update(await _child(word))
    return [_record(figure, value) for figure, value in measured.items()]


async def _child(word: str) -> dict[str, float]:
    command = (sys.executable, "-m", "bench.service_load_child", word)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(output)
    say(", ".join(f"{figure} {value:.3g}" for figure, value in figures.items()))
    return figures


def _record(figure: str, value: float) -> Record:
    subject, limit, unit, _ = _SUBJECTS[figure]
    target = Target(bound=Bound.AT_MOST, limit=limit, of_ratio=False)
    return absolute(figure, subject=subject, value=value, target=target, unit=unit, runs=1)


GROUP = Group(figures=tuple(_SUBJECTS), title="knowing services", measure=measure)
