"""How long is a pod with a fixed address without it when it moves to another node?

From when its old pod is gone until its new one is Ready, against what the emulated cloud itself
takes to detach an ENI and attach it again.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

from bench import world
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target
from bench.stats import median
from terway.lab.world.lab import Lab

MOVE = "fixedip.move"
ROUNDS = 9
NAME = "db-0"
# A real attach takes seconds; with shorter ones our own work would be all that is measured.
ATTACH_S = DETACH_S = 3.0
FIXED = {
    "interface": "eth0",
    "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "10m"},
}
ASKED = {"k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [FIXED]})}


async def measure(order: Order) -> list[Record]:
    """Move a pod to and fro between two nodes."""
    rounds = order.rounds(ROUNDS)
    async with world.lab(
        nodes=2, control_plane=True, eni_conf={"enable_eni_trunking": True}
    ) as lab:
        lab.cloud.world.delays = replace(
            lab.cloud.world.delays,
            attach_s=ATTACH_S,
            attach_member_s=ATTACH_S,
            detach_s=DETACH_S,
            detach_member_s=DETACH_S,
        )
        nodes = itertools.cycle(("node-1", "node-2"))
        had = await lab.pod(NAME, node=next(nodes), annotations=ASKED)
        took_s = []
        for turn in range(rounds):
            took_s.append(await _move_s(lab, next(nodes), had.addresses))
            say(f"  move {turn + 1} of {rounds}: {took_s[-1]:.2f} s")
    return [
        Record(
            figure=MOVE,
            subject="a pod on a member ENI, from gone to Ready elsewhere",
            value=median(took_s),
            reference="the cloud's detach and attach",
            reference_value=ATTACH_S + DETACH_S,
            unit="s",
            runs=rounds,
            target=Target(bound=Bound.AT_MOST, limit=1.2),
        )
    ]


async def _move_s(lab: Lab, node: str, addresses: object) -> float:
    await lab.delete_pod(NAME)
    began = time.monotonic()
    pod = await lab.pod(NAME, node=node, annotations=ASKED)
    took_s = time.monotonic() - began
    if pod.addresses != addresses:
        raise RuntimeError(f"{NAME} had {addresses} and has {pod.addresses}")
    return took_s


GROUP = Group(
    figures=(MOVE,), title="a pod with a fixed address moves to another node", measure=measure
)
