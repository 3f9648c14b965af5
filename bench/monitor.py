"""What does it cost a new connection that it could be watched, and that it is?

    client ─veth─ node ─veth─ servers        through a service, past the node's stack

Three sides in turn: programs that were built without telling (bpf/tell.h, TELL_NOTHING), those that
are shipped while nobody watches, and those while somebody reads all that they tell.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from hatch_build import BPF_SOURCES

from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target
from bench.service_net import connections_per_s, star
from bench.service_world import Star, load_ours, services_of
from bench.stats import median
from terway.bpf_objects import object_path
from terway.linux.bpf import Map
from terway.linux.ebpf.told import Asked, unpack_events, watch
from terway.linux.ring import open_ring

ROUNDS = 15
WITHOUT, UNWATCHED, WATCHED = "without", "unwatched", "watched"
_NOTICEABLE = 0.99  # a hundredth is what two runs of one side differ by
FIGURES = ("monitor.cost", "monitor.cost.watched")


def build_silent(folder: Path) -> Path:
    """Compile the data path without anything that tells."""
    output = folder / "datapath.bpf.o"
    flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-DTELL_NOTHING")
    includes = ("-I", str(BPF_SOURCES), "-I/usr/include/x86_64-linux-gnu")
    source = BPF_SOURCES / "datapath.bpf.c"
    subprocess.run(["clang", *flags, *includes, "-c", source, "-o", output], check=True)
    return output


@asynccontextmanager
async def _watching(maps: Mapping[str, Map]) -> AsyncIterator[None]:
    """Have everything told, and read by this process, for the block."""

    async def read() -> None:
        with open_ring(maps["events"]) as ring:
            async for messages in ring.filled():
                for _ in unpack_events(messages):
                    pass

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        watch(maps["watching"], Asked(losses=True, flows=True))
        try:
            yield
        finally:
            watch(maps["watching"], None)
            reading.cancel()


async def _watched_per_s(side: Star, maps: Mapping[str, Map]) -> float:
    async with _watching(maps):
        return await connections_per_s(side)


async def measure(order: Order) -> list[Record]:
    """Measure the three sides in turn."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = {WITHOUT: build_silent(folder), UNWATCHED: object_path("datapath")}
        sides = {name: _side(stack, path) for name, path in paths.items()}
        plain, maps = sides[UNWATCHED]
        rounds = order.rounds(ROUNDS)
        measured = await alternate(
            rounds,
            {
                WITHOUT: partial(connections_per_s, sides[WITHOUT][0]),
                UNWATCHED: partial(connections_per_s, plain),
                WATCHED: partial(_watched_per_s, plain, maps),
            },
            show=lambda turn: say(f"  new connections: {turn}"),
        )
    rates = {name: median(found) for name, found in measured.items()}
    return [one for one in _records(rates, rounds) if order.wants(one.figure)]


def _side(stack: AsyncExitStack, path: Path) -> tuple[Star, Mapping[str, Map]]:
    side = stack.enter_context(star())
    inner = stack.enter_context(ExitStack())
    return side, load_ours(side, services_of(1), inner, path)


def _records(rates: Mapping[str, float], rounds: int) -> list[Record]:
    told = ((FIGURES[0], UNWATCHED), (FIGURES[1], WATCHED))
    return [
        Record(
            figure=figure,
            subject=f"new connections through a service, {name}",
            value=rates[name],
            reference="programs built without telling",
            reference_value=rates[WITHOUT],
            unit="conn/s",
            runs=rounds,
            target=Target(bound=Bound.AT_LEAST, limit=_NOTICEABLE) if name == UNWATCHED else None,
        )
        for figure, name in told
    ]


GROUP = Group(figures=FIGURES, title="what it costs that it could be watched", measure=measure)
