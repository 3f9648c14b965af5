"""What does a pod's path cost over a Flannel-style network, against the nodes' own path?

The same pods, nodes and VPC as in `bench.net`, with a block of addresses a node: by VXLAN, and by
routes of the VPC. They have no target: they stand beside Terway's.
"""

from __future__ import annotations

from itertools import chain

from bench import world
from bench.group import Group, Order
from bench.net import compare, gauges_of, paths_between_nodes
from bench.record import Record
from terway.lab.world.plan import PodNetwork
from terway.model.address import IPStack

GAUGES = {
    network: gauges_of(network.value)
    for network in (PodNetwork.FLANNEL_VXLAN, PodNetwork.FLANNEL_VPC)
}


async def measure(order: Order) -> list[Record]:
    """Measure each network of which a figure was asked for, in a lab of its own."""
    records: list[Record] = []
    for network, gauges in GAUGES.items():
        if any(order.wants(name) for name in gauges):
            async with world.lab(nodes=2, network=network, stack=IPStack.IPV4) as lab:
                records += await compare(order, gauges, await paths_between_nodes(lab))
    return records


GROUP = Group(
    figures=tuple(chain.from_iterable(GAUGES.values())),
    title="pod to pod over Flannel-style networks against node to node",
    measure=measure,
)
