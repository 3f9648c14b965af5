"""What does a pod with an ENI of its own pay, against the bare node over the same VPC?

subject     pod ─ENI─ fabric ─ENI─ pod
reference   node A ─ENI─ fabric ─ENI─ node B
"""

from __future__ import annotations

from bench import world
from bench.group import Group, Order
from bench.net import compare, gauges_of, paths_between_nodes
from bench.record import Record
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool

GAUGES = gauges_of("exclusive", throughput=0.98, rtt=1.03)
POOL = NodePool(name="node", nodes=2, labels=EXCLUSIVE_LABELS)


async def measure(order: Order) -> list[Record]:
    """Measure between two pods on two nodes, and between the nodes themselves."""
    async with world.lab(nodes=0, pools=(POOL,)) as lab:
        return await compare(order, GAUGES, await paths_between_nodes(lab))


GROUP = Group(
    figures=tuple(GAUGES),
    title="pod with an ENI of its own against node to node",
    measure=measure,
)
