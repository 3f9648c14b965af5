"""Do 5,000 nodes and 100,000 pods get their addresses as fast as the cloud's call limits allow?

Simulated in virtual time (docs/design/scale.md); then the control plane is started anew, as the
process it is, against the cluster that came of it. The reference is the time that the call limits
ask for: nobody can be faster.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute

ADDRESSES = "scale.time_to_addresses@5000"
THROTTLED = "scale.throttled_calls"
RSS = "scale.rss_mb"
RESYNC = "scale.resync_s"
JOIN = "scale.join500"
JOIN_FAIR = "scale.join500_p99_over_p50"
JOIN_FAIR_NODES = "scale.join500_nodes_p99_over_p50"

OVER_LEAST = Target(bound=Bound.AT_MOST, limit=1.3)
FAIR = Target(bound=Bound.AT_MOST, limit=3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """Nodes that come at once. `per_eni`: addresses on each ENI of the type."""

    nodes: int
    pods_per_node: int
    instance_type: str
    per_eni: int
    restart: bool = False

    def smaller(self) -> _Crowd:
        """Return a tenth of it, to try the harness."""
        return _Crowd(
            nodes=self.nodes // 10,
            pods_per_node=self.pods_per_node,
            instance_type=self.instance_type,
            per_eni=self.per_eni,
            restart=self.restart,
        )

    def __str__(self) -> str:
        pods = self.nodes * self.pods_per_node
        return f"{self.nodes} nodes ({self.instance_type}), {pods} pods"


FLEET = _Crowd(
    nodes=5000, pods_per_node=20, instance_type="ecs.g7.xlarge", per_eni=15, restart=True
)
JOINING = _Crowd(nodes=500, pods_per_node=46, instance_type="ecs.c6.3xlarge", per_eni=10)


async def measure_fleet(order: Order) -> list[Record]:
    """Simulate the whole cluster, then start the control plane anew."""
    crowd = FLEET.smaller() if order.quick else FLEET
    found = await _simulate(crowd)
    again = found["restart"]
    return [
        _over_least(ADDRESSES, crowd, found),
        _at_most(THROTTLED, f"{crowd}, after a minute", found["throttled_late"], 0.0, "calls"),
        # The whole simulation's memory, cloud and API server in it, bounds the busy control plane.
        _at_most(RSS, f"{crowd}, restarted, peak", again["peak_mb"], 1500.0, "MB"),
        _at_most(RESYNC, _restarted(crowd, again), again["wall_s"], 60.0, "s"),
    ]


def _restarted(crowd: _Crowd, again: dict[str, Any]) -> str:
    return f"{crowd}, restarted: {again['cpu_s']:.1f} s of CPU"


async def measure_joining(order: Order) -> list[Record]:
    """Simulate the nodes that join at once."""
    crowd = JOINING.smaller() if order.quick else JOINING
    found = await _simulate(crowd)
    return [
        _over_least(JOIN, crowd, found),
        _fair(JOIN_FAIR, f"{crowd}: a pod's wait", crowd, found["pods"]),
        _fair(JOIN_FAIR_NODES, f"{crowd}: a node's wait", crowd, found["nodes"]),
    ]


async def _simulate(crowd: _Crowd) -> dict[str, Any]:
    say(f"  {crowd}")
    words = (crowd.nodes, crowd.pods_per_node, crowd.instance_type, crowd.per_eni)
    again = "restart" if crowd.restart else "-"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.scale_child", *map(str, words), again),
        stdout=asyncio.subprocess.PIPE,
    )
    text, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the simulation of {crowd} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(text)
    if found["unserved"]:
        raise RuntimeError(f"{found['unserved']} pods of {crowd} have no address")
    say(f"  {found}")
    return found


def _over_least(figure: str, crowd: _Crowd, found: dict[str, Any]) -> Record:
    return Record(
        figure=figure,
        subject=f"{crowd}, virtual time",
        value=found["took_s"],
        reference="what the call limits allow",
        reference_value=found["least_s"],
        unit="s",
        runs=1,
        target=OVER_LEAST,
    )


def _at_most(figure: str, subject: str, value: float, limit: float, unit: str) -> Record:
    target = Target(bound=Bound.AT_MOST, limit=limit, of_ratio=False)
    return absolute(figure, subject=subject, value=value, target=target, unit=unit, runs=1)


def _fair(figure: str, subject: str, crowd: _Crowd, waits_s: list[float]) -> Record:
    median_s, tail_s = waits_s
    return Record(
        figure=figure,
        subject=f"{subject}, p99",
        value=tail_s,
        reference="its median",
        reference_value=median_s,
        unit="s",
        runs=crowd.nodes,
        target=FAIR,
    )


GROUPS = (
    Group(
        figures=(ADDRESSES, THROTTLED, RSS, RESYNC),
        title="a simulated cluster of 5,000 nodes and 100,000 pods",
        measure=measure_fleet,
    ),
    Group(
        figures=(JOIN, JOIN_FAIR, JOIN_FAIR_NODES),
        title="500 nodes with 23,000 pods join at once",
        measure=measure_joining,
    ),
)
