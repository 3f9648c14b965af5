"""What does a service cost a new connection, and does it matter how many there are?

    client ─veth─ node ─veth─ four servers            six namespaces for each side

A side is a way to serve with a number of services, the last of which is measured. All stand beside
each other with their services loaded, and are measured in turn. Client and servers are pinned to
one core, so that all the work is done there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial

from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.place import Place

from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.native import program
from bench.record import Bound, Record, Target
from bench.service_world import (
    BACKEND_PORT,
    CLIENT_ADDRESS,
    MEASURED,
    NODE_ADDRESS,
    PORT,
    PUT_UPS,
    SERVER_ADDRESSES,
    Star,
    services_of,
)
from bench.stats import median, percentile

CORE = 1
LOADS = (1, 1_000, 10_000, 30_000)
BASE = LOADS[0]  # the load that the others are compared with
OURS = "ebpf"
TAIL_LOAD = 1_000  # with which new connections are compared one by one
REUSED_PORTS = "10000 10255"  # so few that each is used again at once
ROUNDS = 9
CONNECTIONS = 2_000

Side = tuple[str, int]  # a way to serve, and how many services

FIGURES = (
    *(f"svc.crr.{who}@{load}" for who in PUT_UPS for load in LOADS),
    *(f"svc.connect_p99.{who}" for who in PUT_UPS),
)
FLAT = Target(bound=Bound.AT_LEAST, limit=0.97)


@contextmanager
def star() -> Iterator[Star]:
    """Make the namespaces for the block; nobody serves yet."""
    with ExitStack() as stack:
        node = stack.enter_context(scratch_netns("node"))
        ends: dict[str, ScratchNetns] = {}
        for name, address in _links().items():
            ends[name] = stack.enter_context(scratch_netns("end"))
            _connect(node, ends[name], link=name, address=address)
        node.run(f"sysctl -qw net.ipv4.ip_forward=1 && ip address add {NODE_ADDRESS}/32 dev lo")
        places = {name: Place().in_netns(end.path) for name, end in ends.items()}
        client = places.pop("client0")
        yield Star(
            client=client,
            node=Place().in_netns(node.path),
            servers=tuple(places.values()),
            netns=node,
            ends=ends,
        )


def _links() -> dict[str, str]:
    servers = {f"server{i}": str(one) for i, one in enumerate(SERVER_ADDRESSES)}
    return {"client0": str(CLIENT_ADDRESS), **servers}


def _connect(node: ScratchNetns, end: ScratchNetns, *, link: str, address: str) -> None:
    node.run(
        f"ip link add {link} type veth peer name eth0 netns {end.path}"
        f" && ip link set {link} up && ip address add 169.254.1.1/32 dev {link}"
    )
    end.run(
        f"ip link set eth0 up && ip address add {address}/32 dev eth0"
        " && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1"
        " && sysctl -qw 'net.ipv4.ip_local_port_range=10000 65000'"
    )
    node.run(f"ip route add {address} dev {link}")


@asynccontextmanager
async def serving(side: Star) -> AsyncIterator[None]:
    """Have the four servers of a side answer for the block."""
    async with AsyncExitStack() as stack:
        for place, address in zip(side.servers, SERVER_ADDRESSES, strict=True):
            argv = (program("pingpong"), "serve", str(address), str(BACKEND_PORT))
            await stack.enter_async_context(place.on_core(CORE).server(*argv, ready="ready"))
        yield


async def connect_ns(side: Star, count: int = CONNECTIONS) -> list[int]:
    """Return what each of `count` connections took, one after the other, in nanoseconds."""
    async with serving(side):
        argv = (program("pingpong"), "connect", str(MEASURED), str(PORT), str(count))
        text = await side.client.on_core(CORE).run(*argv)
    return [int(line) for line in text.split()]


async def connections_per_s(side: Star) -> float:
    """Return how many connections are made in a second, by the median: others disturb little."""
    return 1e9 / median(await connect_ns(side))


async def tail_us(side: Star) -> float:
    """Return the 99th percentile of new connections from few ports, each used over and over."""
    await side.client.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={REUSED_PORTS}")
    return percentile(await connect_ns(side), 99) / 1e3


async def measure(order: Order) -> list[Record]:
    """Measure every way with every load, in turn, then the tails."""
    loads = [load for load in LOADS if _is_wanted(order, load)]
    async with _sides(loads) as sides:
        return [*await _rates(sides, order), *await _tails(sides, order)]


def _is_wanted(order: Order, load: int) -> bool:
    named = any(one.endswith(f"@{load}") for one in order.figures)
    return load == BASE or named or (load == TAIL_LOAD and _has_tails(order))


def _has_tails(order: Order) -> bool:
    return any(one.startswith("svc.connect_p99") for one in order.figures)


@asynccontextmanager
async def _sides(loads: Sequence[int]) -> AsyncIterator[dict[Side, Star]]:
    with ExitStack() as stack:
        sides = {}
        for who, put_up in PUT_UPS.items():
            for load in loads:
                say(f"  {who}: {load} services")
                sides[who, load] = stack.enter_context(star())
                await put_up(sides[who, load], services_of(load), stack)
        yield sides


async def _rates(sides: Mapping[Side, Star], order: Order) -> list[Record]:
    if not any(one.startswith("svc.crr") for one in order.figures):
        return []
    rounds = order.rounds(ROUNDS)
    measured = await alternate(
        rounds,
        {f"{who}@{load}": partial(connections_per_s, side) for (who, load), side in sides.items()},
        show=lambda turn: say(f"  new connections: {turn}"),
    )
    rates = {(who, load): median(measured[f"{who}@{load}"]) for who, load in sides}
    return [
        Record(
            figure=f"svc.crr.{who}@{load}",
            subject=f"new connections, {load} services, {who}",
            value=rate,
            reference=f"{who} with {BASE}",
            reference_value=rates[who, BASE],
            unit="conn/s",
            runs=rounds,
            target=FLAT if who == OURS and load != BASE else None,
        )
        for (who, load), rate in rates.items()
        if order.wants(f"svc.crr.{who}@{load}")
    ]


async def _tails(sides: Mapping[Side, Star], order: Order) -> list[Record]:
    if not _has_tails(order):
        return []
    rounds = order.rounds(ROUNDS)
    measured = await alternate(
        rounds,
        {who: partial(tail_us, sides[who, TAIL_LOAD]) for who in PUT_UPS},
        show=lambda turn: say(f"  few ports: {turn}"),
    )
    return [
        Record(
            figure=f"svc.connect_p99.{who}",
            subject=f"99th of 100 new connections from 256 ports, {who}",
            value=median(measured[who]),
            reference=f"the same, {OURS}",
            reference_value=median(measured[OURS]),
            unit="us",
            runs=rounds,
        )
        for who in PUT_UPS
        if order.wants(f"svc.connect_p99.{who}")
    ]


GROUP = Group(figures=FIGURES, title="what a service costs a connection", measure=measure)
