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
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from hatch_build import BPF_SOURCES

from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target
from bench.service_net import connections_per_s, star
from bench.service_world import Ours, Star, attach_ours, load_ours, services_of
from bench.stats import median
from terway.agent.ebpf.watch import TAKE_S
from terway.bpf_objects import object_path
from terway.linux.ebpf.told import Asked, unpack_events, watch
from terway.linux.ring import open_ring

ROUNDS = 25
WITHOUT, UNWATCHED, WATCHED = "without", "unwatched", "watched"
_NOTICEABLE = 0.98  # by so much do two runs of the same programs differ
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
async def _watching(ours: Ours) -> AsyncIterator[None]:
    """Have everything told, and read by this process, for the block."""

    async def read() -> None:
        with open_ring(ours.maps["events"]) as ring:
            while True:
                for _ in unpack_events(ring.take()):
                    pass
                await asyncio.sleep(TAKE_S)

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        watch(ours.maps["watching"], Asked(losses=True, flows=True))
        try:
            yield
        finally:
            watch(ours.maps["watching"], None)
            reading.cancel()


async def _with(side: Star, ours: Ours, *, watched: bool = False) -> float:
    """Return the rate with these programs: all sides are one, so that nothing else differs."""
    attach_ours(side, ours)
    if not watched:
        return await connections_per_s(side)
    async with _watching(ours):
        return await connections_per_s(side)


async def measure(order: Order) -> list[Record]:
    """Measure the three kinds of programs in turn, at the same links."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        side = stack.enter_context(star())
        silent, shipped = (
            load_ours(side, services_of(1), stack, path)
            for path in (build_silent(folder), object_path("datapath"))
        )
        rounds = order.rounds(ROUNDS)
        measured = await alternate(
            rounds,
            {
                WITHOUT: partial(_with, side, silent),
                UNWATCHED: partial(_with, side, shipped),
                WATCHED: partial(_with, side, shipped, watched=True),
            },
            show=lambda turn: say(f"  new connections: {turn}"),
        )
    rates = {name: median(found) for name, found in measured.items()}
    return [one for one in _records(rates, rounds) if order.wants(one.figure)]


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
