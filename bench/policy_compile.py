"""What does it cost to compile policies: all of them, one more pod, one more policy?

Each compile runs in a process of its own (`bench.policy_compile_child`), so that its memory is its
own: values of the cluster, indexes and result. The control plane's view is everybody's.
"""

from __future__ import annotations

import asyncio
import json
import sys

from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute

COMPILE_S, COMPILE_MB = "policy.compile_s@10k", "policy.compile_mb@10k"
ADD_POD_MS, ADD_POLICY_MS = "policy.add_pod_ms", "policy.add_policy_ms"
COMPILE_ALL_S = "policy.compile_s@100k"

# figure: what is measured, its limit, its unit
_SUBJECTS = {
    COMPILE_S: ("a node with 100 of 10,000 pods, 5,000 policies", 5.0, "s"),
    COMPILE_MB: ("the same: peak memory of the process", 400.0, "MB"),
    ADD_POD_MS: ("one more pod, on the node or not, p99", 2.0, "ms"),
    ADD_POLICY_MS: ("one more policy of any kind, p99", 20.0, "ms"),
    COMPILE_ALL_S: ("everybody's view of 100,000 pods, 75,000 policies", 60.0, "s"),
}


async def measure(order: Order) -> list[Record]:
    """Compile a node's view, then change it; compile everybody's view."""
    rounds = order.rounds(3)
    measured: dict[str, float] = {}
    if any(order.wants(one) for one in (COMPILE_S, COMPILE_MB, ADD_POD_MS, ADD_POLICY_MS)):
        runs = [await _child("node") for _ in range(rounds)]
        measured.update({key: sorted(run[key] for run in runs)[rounds // 2] for key in runs[0]})
    if order.wants(COMPILE_ALL_S):
        measured.update(await _child("everybody"))
    return [_record(figure, value, rounds) for figure, value in measured.items()]


async def _child(view: str) -> dict[str, float]:
    command = (sys.executable, "-m", "bench.policy_compile_child", view)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(output)
    say(", ".join(f"{figure} {value:.3g}" for figure, value in figures.items()))
    return figures


def _record(figure: str, value: float, rounds: int) -> Record:
    subject, limit, unit = _SUBJECTS[figure]
    return absolute(
        figure,
        subject=subject,
        value=value,
        target=Target(bound=Bound.AT_MOST, limit=limit, of_ratio=False),
        unit=unit,
        runs=1 if figure == COMPILE_ALL_S else rounds,
    )


GROUP = Group(figures=tuple(_SUBJECTS), title="compiling policies", measure=measure)
