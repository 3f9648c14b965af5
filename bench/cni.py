"""How fast is ADD, and DEL, against Debian's `ptp` with `host-local`?

Both sides give a pod one IPv4 address: with IPv6 the reference waits 1.8 s for duplicate address
detection, which no one should be compared with. The reference runs in a network namespace of its
own, the subject in a lab's nodes, before a terwayd with an API server and a cloud.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from tests.support.place import Place

from bench import world
from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target
from bench.stats import median, percentile
from bench.wave import Side, Wave, run_wave
from terway.lab.world.node import NodeHandle
from terway.model.address import IPStack

# width: (rounds, pods a round). Enough for a p99 to be a measured value, not an extreme.
WAVES = {1: (10, 30), 8: (8, 48), 20: (8, 60), 32: (8, 64)}
NODES = 2
FREE = 70  # addresses that a node's pool keeps: a wave's, and a little

SUBJECT = "terway, IPv4"

ADD_TARGET = Target(bound=Bound.AT_MOST, limit=0.3)
TAIL_TARGETS = {20: Target(bound=Bound.AT_MOST, limit=0.25)}
RATE_TARGET = Target(bound=Bound.AT_LEAST, limit=4.0)


def _names(width: int) -> tuple[str, ...]:
    return tuple(
        f"cni.{what}@{width}" for what in ("add.p50", "add.p99", "del.p50", "del.p99", "pods_per_s")
    )


def ptp_side(folder: Path, place: Place) -> Side:
    """Return the reference: Debian's ptp and host-local, which keeps its files in `folder`."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.9.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(folder / "host-local"),
    }
    return Side(
        label="ptp with host-local, IPv4",
        place=place,
        plugin="/usr/lib/cni/ptp",
        conf={"cniVersion": "1.0.0", "name": "reference", "type": "ptp", "ipam": ipam},
        cni_path="/usr/lib/cni",
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that every place of the benchmark sees, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


async def terway_side(node: NodeHandle) -> Side:
    """Return the subject: our plugin before the terwayd of a lab's node."""
    return Side(
        label=SUBJECT,
        place=world.place_of(node),
        plugin="/opt/cni/bin/terway",
        conf=await world.plugin_conf(node, "1.0.0"),
        cni_path="/opt/cni/bin",
    )


async def compare(
    order: Order, width: int, nodes: Iterator[NodeHandle], folder: Path
) -> list[Record]:
    """Run waves of both sides in turn and return the five figures of `width`."""
    rounds, pods = WAVES[width]
    rounds = order.rounds(rounds)
    ptp = ptp_side(folder, Place())
    wave = partial(run_wave, folder=folder, pods=pods, width=width)

    async def subject() -> Wave:
        node = next(nodes)
        await world.wait_free(node, pods)
        return await wave(await terway_side(node))

    async def reference() -> Wave:
        return await wave(ptp)

    waves = await alternate(
        rounds,
        {"subject": subject, "reference": reference},
        show=lambda turn: say(f"  {width} in parallel, {pods} pods: {turn}"),
    )
    return [
        Record(
            figure=name,
            subject=SUBJECT,
            value=_figure(name, waves["subject"]),
            reference=ptp.label,
            reference_value=_figure(name, waves["reference"]),
            unit="pods/s" if "pods_per_s" in name else "ms",
            runs=rounds if "pods_per_s" in name else rounds * pods,
            target=_target(name),
        )
        for name in _names(width)
    ]


def _figure(name: str, waves: list[Wave]) -> float:
    what = name.partition("@")[0].removeprefix("cni.")
    if what == "pods_per_s":
        return median([wave.pods_per_s for wave in waves])
    verb, percent = what.split(".p")
    timings = [wave.add if verb == "add" else wave.delete for wave in waves]
    return percentile(list(chain.from_iterable(t.each_ms for t in timings)), float(percent))


def _target(name: str) -> Target | None:
    what, _, width = name.partition("@")
    if ".p99" in what:
        return TAIL_TARGETS.get(int(width)) if "add" in what else None
    return RATE_TARGET if "pods_per_s" in what else ADD_TARGET


async def measure(order: Order) -> list[Record]:
    """Measure every width of which a figure was asked for.

    The waves go around the nodes, because an address cools for a while after a DEL.
    """
    records: list[Record] = []
    with scratch() as folder:
        async with world.lab(
            nodes=NODES,
            instance_type=world.LARGE,
            stack=IPStack.IPV4,
            min_free=FREE,
            max_free=FREE,
            # So that the addresses of one wave are there again for the next but one.
            eni_conf={"ip_cooldown_period": "1s"},
        ) as lab:
            nodes = itertools.cycle(lab.nodes.values())
            for width in WAVES:
                if any(order.wants(name) for name in _names(width)):
                    records += await compare(order, width, nodes, folder)
    return records


GROUP = Group(
    figures=tuple(chain.from_iterable(_names(width) for width in WAVES)),
    title="CNI ADD and DEL against Debian's ptp with host-local",
    measure=measure,
)
