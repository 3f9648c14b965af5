"""What does a pod's path in eBPF cost, against policy routing and against the node's own path?

    subject     pod on node A ─► node A ─ENI─ fabric ─ENI─ node B ─► pod on node B      datapathv2
    reference   the same with policy routing; the nodes themselves
    same node   pod ─► node A ─► pod

Two labs stand beside each other, alike but for the mode, and are measured in turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bench import world
from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.net import Path, inside, paths_between_nodes, round_trip_us, stream_gbps
from bench.record import Bound, Record, Target
from bench.stats import median
from terway.model.address import Family

ROUNDS = 15
STREAM_ROUNDS = 7
MODES = ("datapathv2", "veth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure: which path, beside which, and the ratio it is to reach."""

    subject: str
    reference: str
    unit: str
    target: Target | None = None


FIGURES: Mapping[str, Comparison] = {
    "net.rtt.datapathv2": Comparison(
        subject="datapathv2",
        reference="veth",
        unit="us",
        target=Target(bound=Bound.AT_MOST, limit=0.7),
    ),
    "net.rtt.datapathv2-node": Comparison(
        subject="datapathv2",
        reference="nodes",
        unit="us",
        target=Target(bound=Bound.AT_MOST, limit=1.05),
    ),
    "net.throughput.datapathv2": Comparison(
        subject="datapathv2",
        reference="nodes",
        unit="Gbit/s",
        target=Target(bound=Bound.AT_LEAST, limit=0.97),
    ),
    "net.rtt.veth-same-node": Comparison(subject="veth-same-node", reference="nodes", unit="us"),
    "net.rtt.datapathv2-same-node": Comparison(
        subject="datapathv2-same-node",
        reference="veth-same-node",
        unit="us",
        target=Target(bound=Bound.AT_MOST, limit=0.7),
    ),
}
LABELS = {
    "datapathv2": "pod to pod across nodes, datapathv2",
    "veth": "the same, policy routing",
    "nodes": "node to node, same VPC",
    "datapathv2-same-node": "pod to pod on a node, datapathv2",
    "veth-same-node": "pod to pod on a node, policy routing",
}


@asynccontextmanager
async def _labs() -> AsyncIterator[dict[str, Path]]:
    """Run a lab of each mode for the block; return the paths to be measured."""
    async with AsyncExitStack() as stack:
        found: dict[str, Path] = {}
        for mode in MODES:
            plan = world.lab(nodes=2, name=f"bench-{mode}", cni={"eniip_virtual_type": mode})
            lab = await stack.enter_async_context(plan)
            paths = await paths_between_nodes(lab)
            neighbour = await lab.pod("neighbour", node="node-1")
            found[mode] = paths.subject
            found[f"{mode}-same-node"] = Path(
                client=paths.subject.client,
                server=inside(neighbour.netns_path),
                address=str(neighbour.address(Family.V4)),
            )
            found.setdefault("nodes", paths.reference)
        yield found


async def measure(order: Order) -> list[Record]:
    """Measure round trips on all paths in turn, then streams."""
    async with _labs() as paths:
        round_trips = await _measure(order, "us", paths)
        return [*round_trips, *await _measure(order, "Gbit/s", paths)]


async def _measure(order: Order, unit: str, paths: Mapping[str, Path]) -> list[Record]:
    wanted = {name: one for name, one in FIGURES.items() if one.unit == unit and order.wants(name)}
    if not wanted:
        return []
    rounds = order.rounds(ROUNDS if unit == "us" else STREAM_ROUNDS)
    gauge = round_trip_us if unit == "us" else stream_gbps
    names = dict.fromkeys(n for one in wanted.values() for n in (one.subject, one.reference))
    measured = await alternate(
        rounds,
        {name: partial(gauge, paths[name]) for name in names},
        show=lambda turn: say(f"  {unit}: {turn}"),
    )
    return [
        Record(
            figure=name,
            subject=LABELS[one.subject],
            value=median(measured[one.subject]),
            reference=LABELS[one.reference],
            reference_value=median(measured[one.reference]),
            unit=unit,
            runs=rounds,
            target=one.target,
        )
        for name, one in wanted.items()
    ]


GROUP = Group(
    figures=tuple(FIGURES),
    title="pods in eBPF against policy routing and the nodes",
    measure=measure,
)
