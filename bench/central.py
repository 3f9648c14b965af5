"""What does a pod's ADD pay for a control plane that sees to the addresses?

Two labs at once, alike but for `ipam_type`: a node with its own pool, and one that the control
plane supplies. Both have free addresses, as a node in service has. Waves of ADD in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from bench import world
from bench.alternate import alternate
from bench.cni import FREE, NODES, scratch, terway_side
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute
from bench.stats import percentile
from bench.wave import Wave, run_wave
from terway.lab.world.node import NodeHandle
from terway.model.address import IPStack

ADD_TAIL = "cni.add.p99.centralized"
ROUNDS, PODS, WIDTH = 8, 60, 20
MORE_MS = Target(bound=Bound.AT_MOST, limit=50.0, of_ratio=False)


async def measure(order: Order) -> list[Record]:
    """Run waves on nodes of both kinds."""
    alike = {
        "nodes": NODES,
        "instance_type": world.LARGE,
        "stack": IPStack.IPV4,
        "min_free": FREE,
        "max_free": FREE,
        # So that the addresses of one wave are there again for the next but one.
        "eni_conf": {"ip_cooldown_period": "1s"},
    }
    with scratch() as folder:
        async with (
            world.lab(name="own", **alike) as own,
            world.lab(name="central", control_plane=True, **alike) as central,
        ):
            sides = {
                "own": itertools.cycle(own.nodes.values()),
                "central": itertools.cycle(central.nodes.values()),
            }
            return [await _compare(order, sides, folder)]


async def _compare(order: Order, sides: Mapping[str, Iterator[NodeHandle]], folder: Path) -> Record:
    rounds = order.rounds(ROUNDS)

    async def wave(nodes: Iterator[NodeHandle]) -> Wave:
        node = next(nodes)
        await world.wait_free(node, PODS)
        return await run_wave(await terway_side(node), folder, pods=PODS, width=WIDTH)

    waves = await alternate(
        rounds,
        {name: partial(wave, nodes) for name, nodes in sides.items()},
        show=lambda turn: say(f"  {WIDTH} in parallel, {PODS} pods: {turn}"),
    )
    tails = {name: _add_p99_ms(found) for name, found in waves.items()}
    text = f"p99 of {WIDTH} at once: {tails['central']:.1f} ms, own pool {tails['own']:.1f} ms"
    more_ms = tails["central"] - tails["own"]
    return absolute(
        ADD_TAIL, subject=text, value=more_ms, target=MORE_MS, unit="ms", runs=rounds * PODS
    )


def _add_p99_ms(waves: list[Wave]) -> float:
    return percentile(list(chain.from_iterable(one.add.each_ms for one in waves)), 99.0)


GROUP = Group(
    figures=(ADD_TAIL,),
    title="CNI ADD of a node that a control plane supplies, against one with its own pool",
    measure=measure,
)
