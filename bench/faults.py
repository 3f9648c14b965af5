"""How many seeded histories of faults end well, and how many run a minute?"""

from __future__ import annotations

import asyncio

from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute
from terway.lab.faults.batch import Tally, run_many

HISTORIES, PER_MIN = "faults.histories", "faults.histories_per_min"
FIRST_SEED = 1_000_000
THOROUGH, QUICK = 10_000, 300
SAY_EVERY = 1000
PER_MIN_TARGET = 1000.0  # "thousands", on two processors


async def measure(order: Order) -> list[Record]:
    """Run them on all processors; the first that fails is named, with how to replay it."""
    count = QUICK if order.quick else THOROUGH
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    tally = await asyncio.to_thread(run_many, seeds, heard=_progress)
    return [one for one in records_of(tally) if order.wants(one.figure)]


def _progress(tally: Tally) -> None:
    if tally.histories % SAY_EVERY == 0:
        say(f"{tally.histories} histories, {tally.per_min:.0f} a minute")


def records_of(tally: Tally) -> list[Record]:
    """Return the figures: histories that ended well, and the rate."""
    for verdict in tally.failed:
        say(f"terway-lab faults run --seed {verdict.seed}: {verdict.failures[0]}")
    well = tally.histories - len(tally.failed)
    return [
        _record(HISTORIES, "seeded histories that ended well", well, tally.histories, tally),
        _record(PER_MIN, "histories a minute", tally.per_min, PER_MIN_TARGET, tally),
    ]


def _record(figure: str, subject: str, value: float, limit: float, tally: Tally) -> Record:
    return absolute(
        figure,
        subject=subject,
        value=value,
        target=Target(bound=Bound.AT_LEAST, limit=limit, of_ratio=False),
        unit="histories" if figure == HISTORIES else "/min",
        runs=tally.histories,
    )


GROUP = Group(figures=(HISTORIES, PER_MIN), title="histories of faults", measure=measure)
