"""What does a path cost where pods are IPvlan children? In a guest kernel that has IPvlan.

    subject     pod ─ENI─ fabric ─ENI─ pod                              ipvlan
    reference   pod ─► node ─ENI─ fabric ─ENI─ node ─► pod              policy routing
                      the nodes themselves, over the same VPC

All in one guest (`bench.ipvlan_child`), which has one CPU and no JIT: programs are interpreted, so
eBPF costs more there than on a node, and times are many times those of the machine. Ratios count.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.guest_kernel import has_guest, run_in_guest

from bench.datapath import Comparison
from bench.group import Group, Order, say
from bench.native import program
from bench.record import Bound, Record, Target
from bench.stats import median

ROUNDS = 9
RESULT = "samples.json"
_ROOT = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 1500.0

FIGURES: Mapping[str, Comparison] = {
    "net.rtt.ipvlan": Comparison(
        subject="ipvlan",
        reference="veth",
        unit="us",
        target=Target(bound=Bound.AT_MOST, limit=0.7),
    ),
    "net.rtt.ipvlan-node": Comparison(
        subject="ipvlan",
        reference="nodes",
        unit="us",
        target=Target(bound=Bound.AT_MOST, limit=1.05),
    ),
    "net.throughput.ipvlan": Comparison(
        subject="ipvlan",
        reference="nodes",
        unit="Gbit/s",
        target=Target(bound=Bound.AT_LEAST, limit=0.97),
    ),
}
LABELS = {
    "ipvlan": "pod to pod across nodes, ipvlan, in a guest",
    "veth": "the same, policy routing",
    "nodes": "node to node, same VPC, in the guest",
}

Samples = Mapping[str, Mapping[str, list[float]]]  # by unit, and by path


async def measure(order: Order) -> list[Record]:
    """Boot a guest, and have all paths measured in turn there."""
    if not has_guest():
        say("  no guest kernel: apt-get install user-mode-linux busybox-static kmod")
        return []
    program("pingpong")  # the guest cannot write where it is built
    samples = await asyncio.to_thread(_in_guest, order.rounds(ROUNDS))
    return [
        Record(
            figure=name,
            subject=LABELS[one.subject],
            value=median(samples[one.unit][one.subject]),
            reference=LABELS[one.reference],
            reference_value=median(samples[one.unit][one.reference]),
            unit=one.unit,
            runs=len(samples[one.unit][one.subject]),
            target=one.target,
        )
        for name, one in FIGURES.items()
    ]


def _in_guest(rounds: int) -> Samples:
    with tempfile.TemporaryDirectory(prefix="bench-ipvlan-") as name:
        folder = Path(name)
        words = (sys.executable, "-m", "bench.ipvlan_child", str(folder / RESULT), str(rounds))
        say(f"  guest: {rounds} rounds")
        run = run_in_guest(f"cd {_ROOT} && {' '.join(words)}", folder, timeout_s=_TIMEOUT_S)
        if run.status != 0:
            raise RuntimeError(f"the guest ended with {run.status}:\n{run.output[-4000:]}")
        found: Samples = json.loads((folder / RESULT).read_text())
        return found


GROUP = Group(
    figures=tuple(FIGURES),
    title="ipvlan pods against policy routing and the nodes, in a guest kernel",
    measure=measure,
)
