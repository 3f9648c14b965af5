"""Measure, print a table, write bench/results/latest.json: ``python -m bench``."""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.isolation import enter_private_namespaces

from bench.figures import GROUPS
from bench.group import Order, say
from bench.record import Record, encode, table, write

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def main() -> int:
    """Run what the command line asks for. A missed target is said, and is not a failure."""
    options = _parser().parse_args()
    order = Order(figures=_matching(options.only), quick=options.quick)
    if options.list:
        print("\n".join(sorted(order.figures)))
        return 0
    if os.geteuid() != 0:
        print("bench: needs root, for network namespaces of its own", file=sys.stderr)
        return 2
    if not order.figures:
        print(f"bench: no figure is called {' or '.join(options.only)}; --list has the names")
        return 2
    enter_private_namespaces()
    records = asyncio.run(_measure(order))
    write(RESULTS, records)
    print(json.dumps([encode(r) for r in records], indent=1) if options.json else table(records))
    say(f"written to {RESULTS}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help="cni.add.p50@8 …")
    parser.add_argument("--quick", action="store_true", help="few rounds: to try the harness")
    parser.add_argument("--list", action="store_true", help="print the figures' names")
    parser.add_argument("--json", action="store_true", help="print the records, not a table")
    return parser


def _matching(patterns: Sequence[str]) -> frozenset[str]:
    """Return the figures that a pattern names: a whole name, the start of one, or a glob."""
    names = [figure for group in GROUPS for figure in group.figures]
    return frozenset(
        name for name in names for p in patterns if name.startswith(p) or fnmatch.fnmatch(name, p)
    )


async def _measure(order: Order) -> list[Record]:
    records: list[Record] = []
    for group in GROUPS:
        if order.figures.isdisjoint(group.figures):
            continue
        say(group.title)
        measured = await group.measure(order)
        records += [record for record in measured if record.figure in order.figures]
    return records


if __name__ == "__main__":
    sys.exit(main())
