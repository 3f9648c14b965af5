"""What does a pod's path cost, against the node's own path over the same VPC?

    subject     pod on node A ─veth─ node A ─ENI─ fabric ─ENI─ node B ─veth─ pod on node B
    reference                        node A ─ENI─ fabric ─ENI─ node B

Both ends are pinned to one core: on two idle cores a round trip is mostly the time to wake the
other core, which says nothing of the path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tests.support.place import Place

from bench import world
from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.native import program
from bench.record import Bound, Record, Target
from bench.stats import median
from terway.lab.world.lab import Lab
from terway.lab.world.node import NodeHandle
from terway.model.address import Family

CORE = max(os.sched_getaffinity(0))
PORT = "5201"
STREAM_S = 2
ROUND_TRIPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Two ends: where the client runs, where the server runs, and the server's address."""

    client: Place
    server: Place
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """What is compared, and what the two are called in the record."""

    subject: Path
    reference: Path
    subject_label: str = "pod to pod across nodes"
    reference_label: str = "node to node, same VPC"


async def stream_gbps(path: Path) -> float:
    """Return what one TCP stream carried, as the receiver counted it."""
    argv = ("iperf3", "--server", "--one-off", "--bind", path.address, "--forceflush")
    async with path.server.on_core(CORE).server(*argv, ready="listening"):
        client = path.client.on_core(CORE)
        text = await client.run("iperf3", "-c", path.address, "-t", str(STREAM_S), "-O", "1", "-J")
    return float(json.loads(text)["end"]["sum_received"]["bits_per_second"]) / 1e9


async def round_trip_us(path: Path, *, round_trips: int = ROUND_TRIPS) -> float:
    """Return the median round trip of one byte over an open TCP connection."""
    pingpong = program("pingpong")
    server = path.server.on_core(CORE)
    async with server.server(pingpong, "serve", path.address, PORT, ready="ready"):
        client = path.client.on_core(CORE)
        text = await client.run(pingpong, "ask", path.address, PORT, str(round_trips))
    return median([int(line) / 1e3 for line in text.split()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """How one figure is measured."""

    measure: Callable[[Path], Awaitable[float]]
    rounds: int
    unit: str
    target: Target | None = None


def gauges_of(
    network: str, *, throughput: float | None = None, rtt: float | None = None
) -> dict[str, Gauge]:
    """Return the two figures of a way to connect pods, with the ratios that they are to reach."""
    return {
        f"net.throughput.{network}": Gauge(
            measure=stream_gbps,
            rounds=7,
            unit="Gbit/s",
            target=_bound(Bound.AT_LEAST, throughput),
        ),
        f"net.rtt.{network}": Gauge(
            measure=round_trip_us,
            rounds=15,
            unit="us",
            target=_bound(Bound.AT_MOST, rtt),
        ),
    }


def _bound(bound: Bound, limit: float | None) -> Target | None:
    return None if limit is None else Target(bound=bound, limit=limit)


GAUGES = gauges_of("veth", throughput=0.9, rtt=1.15)


async def compare(order: Order, gauges: Mapping[str, Gauge], paths: Paths) -> list[Record]:
    """Measure what was asked for, alternating the two paths."""
    return [
        await _figure(name, gauge, paths, order.rounds(gauge.rounds))
        for name, gauge in gauges.items()
        if order.wants(name)
    ]


async def _figure(name: str, gauge: Gauge, paths: Paths, rounds: int) -> Record:
    measured = await alternate(
        rounds,
        {
            "subject": partial(gauge.measure, paths.subject),
            "reference": partial(gauge.measure, paths.reference),
        },
        show=lambda turn: say(f"  {name}: {turn}"),
    )
    return Record(
        figure=name,
        subject=paths.subject_label,
        value=median(measured["subject"]),
        reference=paths.reference_label,
        reference_value=median(measured["reference"]),
        unit=gauge.unit,
        runs=rounds,
        target=gauge.target,
    )


async def measure(order: Order) -> list[Record]:
    """Measure between two pods on two nodes, and between the nodes themselves."""
    async with world.lab(nodes=2) as lab:
        return await compare(order, GAUGES, await paths_between_nodes(lab))


async def paths_between_nodes(lab: Lab, *, timeout_s: float = 30.0) -> Paths:
    """Return the path between a pod on each of the first two nodes, and that between the nodes."""
    nodes = [lab.node("node-1"), lab.node("node-2")]
    pods = [
        await lab.pod(f"end-{node.name}", node=node.name, timeout_s=timeout_s) for node in nodes
    ]
    return Paths(
        subject=Path(
            client=inside(pods[0].netns_path),
            server=inside(pods[1].netns_path),
            address=str(pods[1].address(Family.V4)),
        ),
        reference=Path(
            client=inside(nodes[0].netns_path),
            server=inside(nodes[1].netns_path),
            address=_address(nodes[1]),
        ),
    )


def inside(netns_path: str) -> Place:
    """Return a network namespace as a place."""
    return Place().in_netns(netns_path)


def _address(node: NodeHandle) -> str:
    """Return the node's first address: of its eth0, IPv4."""
    return node.spec.addresses[0].partition("/")[0]


GROUP = Group(
    figures=tuple(GAUGES),
    title="pod to pod across nodes against node to node",
    measure=measure,
)
