"""The part of `bench.scale` that has a process to itself: its memory and its CPU are the figure's.

``python -m bench.scale_child NODES PODS_PER_NODE TYPE ADDRESSES_PER_ENI RESTART``: JSON on stdout.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict

import structlog

from bench.group import say
from bench.stats import percentile
from terway.lab.scale.plan import ScalePlan
from terway.lab.scale.resync import restart
from terway.lab.scale.run import Outcome, simulate


def main(nodes: str, pods_per_node: str, instance_type: str, per_eni: str, again: str) -> None:
    """Simulate, and restart the control plane for real where asked to."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    plan = ScalePlan(
        nodes=int(nodes),
        pods_per_node=int(pods_per_node),
        instance_type=instance_type,
        addresses_per_eni=int(per_eni),
    )
    outcome, world = simulate(plan, show=lambda text: say(f"  virtual {text}"))
    found: dict[str, object] = _found(outcome)
    if again == "restart":
        say("  restart of the control plane, in real time")
        found["restart"] = asdict(asyncio.run(restart(world)))
    print(json.dumps(found))


def _found(outcome: Outcome) -> dict[str, object]:
    waits, node_waits = outcome.waits_s, outcome.node_waits_s
    return {
        "took_s": outcome.took_s,
        "least_s": outcome.plan.least_s,
        "unserved": outcome.unserved,
        "pods": [percentile(waits, 50.0), percentile(waits, 99.0)],
        "nodes": [percentile(node_waits, 50.0), percentile(node_waits, 99.0)],
        "throttled_late": outcome.throttled_late,
        "calls": dict(outcome.calls),
        "cpu_s": outcome.cpu_s,
        "wall_s": outcome.wall_s,
        "peak_mb": outcome.peak_mb,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
