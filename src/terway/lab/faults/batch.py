"""How do many histories run? On all processors, each seed by itself, failures as they come."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from terway.lab.faults.generate import generate
from terway.lab.faults.run import Outcome, run_schedule
from terway.lab.faults.schedule import Schedule
from terway.lab.faults.shrink import shrink

_CHUNK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one seed."""

    seed: int
    failures: tuple[str, ...]
    events: int
    virtual_s: float


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of many."""

    histories: int = 0
    virtual_s: float = 0.0
    elapsed_s: float = 0.0
    failed: tuple[Verdict, ...] = ()

    @property
    def per_min(self) -> float:
        """Return histories a minute."""
        return 60.0 * self.histories / self.elapsed_s if self.elapsed_s else 0.0


def run_seed(seed: int) -> Verdict:
    """Run the history of one seed. What breaks the lab itself is a failure, too."""
    schedule = generate(seed)
    outcome = run_safely(schedule)
    return Verdict(
        seed=seed,
        failures=outcome.failures,
        events=len(schedule.events),
        virtual_s=outcome.virtual_s,
    )


def run_safely(schedule: Schedule) -> Outcome:
    """Run a history; an exception that leaves it is its failure."""
    try:
        return run_schedule(schedule)
    except Exception as error:
        text = f"the history broke off: {_innermost(error)!r}"
        return Outcome(
            schedule=schedule, failures=(text,), digest="", lines=(), alarms=(), virtual_s=0.0
        )


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run_many(
    seeds: Iterable[int],
    *,
    jobs: int = 0,
    minutes: float = 0.0,
    heard: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Run the histories of `seeds` in `jobs` processes (0: one a processor).

    Begins no more after `minutes`, if that is not 0. `heard` is told after each history.
    """
    tally, began = Tally(), time.monotonic()
    until = began + 60.0 * minutes if minutes else float("inf")
    for verdict in _verdicts(_until(seeds, until), jobs or os.cpu_count() or 1):
        tally.histories += 1
        tally.virtual_s += verdict.virtual_s
        tally.elapsed_s = time.monotonic() - began
        if verdict.failures:
            tally.failed = (*tally.failed, verdict)
        heard(tally)
    return tally


def _until(seeds: Iterable[int], until: float) -> Iterator[int]:
    for seed in seeds:
        if time.monotonic() >= until:
            return
        yield seed


def _verdicts(seeds: Iterator[int], jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(run_seed, seeds)
        return
    # A pool takes all of an endless iterator at once, so it is fed one round at a time.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        while batch := _take(seeds, jobs * _CHUNK * 4):
            yield from pool.imap_unordered(run_seed, batch, chunksize=_CHUNK)


def _take(seeds: Iterator[int], count: int) -> list[int]:
    return [seed for _, seed in zip(range(count), seeds, strict=False)]


def shrink_seed(seed: int, *, tries: int = 400) -> Schedule:
    """Return the shortest schedule that fails of a seed that is known to fail."""
    return shrink(generate(seed), lambda one: bool(run_safely(one).failures), tries=tries)
