"""What do policies cost a connection, and does it matter how many there are?

    client ─veth─ node ─veth─ pod "server"            a trio of namespaces for each side

A side is a packet filter with a load: so many policies that all select the server, or as many that
are spread over namespaces. All stand beside each other with their rules loaded, and are measured
in turn. Client and server are pinned to one core, so that all the work is done there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.place import Place

from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.native import program
from bench.policy_ebpf import link_mac_of, pod_mac_of
from bench.policy_filters import FILTERS, links_of
from bench.policy_world import CLIENT_ADDRESS, PORT, SERVER, SERVER_ADDRESS, Shape, world_of
from bench.record import Bound, Record, Target
from bench.stats import median

CORE = 1
LOADS: Mapping[str, tuple[int, Shape]] = {
    **{str(count): (count, Shape.WORST) for count in (0, 10, 1_000, 5_000)},
    "spread": (5_000, Shape.SPREAD),
}
BASES = {"nft": "10", "ebpf": "0", "iptables": "10"}  # what the other loads are compared with
HELD = ("1000", "5000", "spread")  # where ours may lose nothing
OURS, THEIRS = "nft", "iptables"
GAIN = "gain"  # of ours over theirs

Side = tuple[str, str]  # a filter, and a load
Rates = Mapping[Side, float]
ROUNDS = 11
CONNECTIONS = 2_000
ROUND_TRIPS = 10_000
TARGETS = {
    "nft": Target(bound=Bound.AT_LEAST, limit=0.97),
    "ebpf": Target(bound=Bound.AT_LEAST, limit=0.98),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """A client and a server with a node between them."""

    client: Place
    node: Place
    server: Place


@contextmanager
def trio() -> Iterator[tuple[Trio, ScratchNetns]]:
    """Make the namespaces for the block; nothing filters yet."""
    with ExitStack() as stack:
        client, node, server = (
            stack.enter_context(scratch_netns(name)) for name in ("client", "node", "server")
        )
        _connect(node, client, link="eth1", address=str(CLIENT_ADDRESS))
        _connect(node, server, link=links_of()[SERVER], address=str(SERVER_ADDRESS))
        node.run("sysctl -qw net.ipv4.ip_forward=1")
        places = (Place().in_netns(one.path) for one in (client, node, server))
        yield Trio(**dict(zip(("client", "node", "server"), places, strict=True))), node


def _connect(node: ScratchNetns, end: ScratchNetns, *, link: str, address: str) -> None:
    node.run(
        f"ip link add {link} address {link_mac_of(IPv4Address(address))} type veth"
        f" peer name eth0 address {pod_mac_of(IPv4Address(address))} netns {end.path}"
        f" && ip link set {link} up && ip address add 169.254.1.1/32 dev {link}"
    )
    end.run(
        f"ip link set eth0 up && ip address add {address}/32 dev eth0"
        " && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1"
        " && sysctl -qw 'net.ipv4.ip_local_port_range=10000 65000'"
    )
    node.run(f"ip route add {address} dev {link}")


async def connections_per_s(trio: Trio) -> float:
    """Return how many connections are made, used for a byte and closed, one after the other."""
    return await _per_s(trio, "connect", CONNECTIONS)


async def round_trips_per_s(trio: Trio) -> float:
    """Return how many bytes go there and back over one open connection."""
    return await _per_s(trio, "ask", ROUND_TRIPS)


async def _per_s(trio: Trio, verb: str, count: int) -> float:
    """Measure between the ends; the median, so that what else the machine does is left out."""
    tool, address = program("pingpong"), (str(SERVER_ADDRESS), str(PORT))
    await trio.node.run("conntrack", "-F")
    async with trio.server.on_core(CORE).server(tool, "serve", *address, ready="ready"):
        text = await trio.client.on_core(CORE).run(tool, verb, *address, str(count))
    return 1e9 / median([int(line) for line in text.split()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """What is measured, and in which unit."""

    measure: Callable[[Trio], Awaitable[float]]
    unit: str
    subject: str


GAUGES: Mapping[str, Gauge] = {
    "crr": Gauge(measure=connections_per_s, unit="conn/s", subject="new connections"),
    "rr": Gauge(measure=round_trips_per_s, unit="trips/s", subject="round trips"),
}
FIGURES = tuple(
    f"policy.{gauge}.{name}@{load}"
    for gauge in GAUGES
    for name in (*FILTERS, GAIN)
    for load in LOADS
)


async def measure(order: Order) -> list[Record]:
    """Measure every filter with every load, in turn."""
    async with _sides() as sides:
        return [
            record
            for name, gauge in GAUGES.items()
            if any(figure.startswith(f"policy.{name}.") for figure in order.figures)
            for record in await _compare(name, gauge, sides, order)
        ]


@asynccontextmanager
async def _sides() -> AsyncIterator[dict[Side, Trio]]:
    with ExitStack() as stack:
        sides = {}
        for who, put_up in FILTERS.items():
            for load, (count, shape) in LOADS.items():
                sides[who, load], node = stack.enter_context(trio())
                say(f"  {who}: {load} policies")
                await put_up(node, await asyncio.to_thread(world_of, count, shape))
        yield sides


async def _compare(
    name: str, gauge: Gauge, sides: Mapping[Side, Trio], order: Order
) -> list[Record]:
    rounds = order.rounds(ROUNDS)
    measured = await alternate(
        rounds,
        {f"{who}@{load}": partial(gauge.measure, side) for (who, load), side in sides.items()},
        show=lambda turn: say(f"  {gauge.subject}: {turn}"),
    )
    rates = {(who, load): median(measured[f"{who}@{load}"]) for who, load in sides}
    return [*_by_load(name, gauge, rates, rounds), *_by_filter(name, gauge, rates, rounds)]


def _by_load(name: str, gauge: Gauge, rates: Rates, rounds: int) -> Iterator[Record]:
    for (who, load), rate in rates.items():
        yield Record(
            figure=f"policy.{name}.{who}@{load}",
            subject=f"{gauge.subject}, {load} policies, {who}",
            value=rate,
            reference=f"with {BASES[who]} policies",
            reference_value=rates[who, BASES[who]],
            unit=gauge.unit,
            runs=rounds,
            target=TARGETS.get(who) if load in HELD else None,
        )


def _by_filter(name: str, gauge: Gauge, rates: Rates, rounds: int) -> Iterator[Record]:
    for load in LOADS:
        yield Record(
            figure=f"policy.{name}.{GAIN}@{load}",
            subject=f"{gauge.subject}, {load} policies, {OURS}",
            value=rates[OURS, load],
            reference=f"the same with {THEIRS}, as Felix makes it",
            reference_value=rates[THEIRS, load],
            unit=gauge.unit,
            runs=rounds,
        )


GROUP = Group(figures=FIGURES, title="what policies cost a connection", measure=measure)
