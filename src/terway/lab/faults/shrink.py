"""Which is the shortest schedule that still fails? Delta debugging over events, then over values.

Source of the method: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"
(2002), algorithm ddmin, without its test of subsets: complements find them all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from terway.lab.faults.events import AddPod, Event, Kill
from terway.lab.faults.schedule import Schedule

Fails = Callable[[Schedule], bool]


@dataclass(slots=True)
class _Tries:
    """Asks whether a schedule fails, at most so many times."""

    fails: Fails
    left: int

    def __call__(self, schedule: Schedule) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return self.fails(schedule)


def shrink(schedule: Schedule, fails: Fails, *, tries: int = 400) -> Schedule:
    """Return a schedule that still fails, of which no event can be left out.

    `fails` is asked at most `tries` times; `schedule` itself is known to fail.
    """
    ask = _Tries(fails, tries)
    before = None
    while before != schedule:
        before = schedule
        schedule = _with_fewer_events(schedule, ask)
        schedule = _with_plainer_values(schedule, ask)
    return schedule


def _with_fewer_events(schedule: Schedule, fails: Fails) -> Schedule:
    size = max(1, len(schedule.events) // 2)
    while True:
        smaller = _without_some(schedule, size, fails)
        if smaller is not None:
            schedule = smaller
            size = min(size, max(1, len(schedule.events) // 2))
        elif size == 1:
            return schedule
        else:
            size = max(1, size // 2)


def _without_some(schedule: Schedule, size: int, fails: Fails) -> Schedule | None:
    """Return the schedule without `size` events that follow each other, if it still fails."""
    events = schedule.events
    for start in range(len(events) - 1, -1, -size):
        rest = (*events[: max(0, start - size + 1)], *events[start + 1 :])
        smaller = _with(schedule, rest)
        if len(rest) < len(events) and fails(smaller):
            return smaller
    return None


def _with(schedule: Schedule, events: Sequence[Event]) -> Schedule:
    return msgspec.structs.replace(schedule, events=tuple(events))


def _with_plainer_values(schedule: Schedule, fails: Fails) -> Schedule:
    """Try rounder times, a shorter history, one node, one family, ordinary pods."""
    for make_plainer in _plainer_worlds():
        plainer = make_plainer(schedule)
        if plainer != schedule and fails(plainer):
            schedule = plainer
    for index in range(len(schedule.events)):
        for change in _plainer(schedule.events[index]):
            events = [*schedule.events]
            events[index] = msgspec.structs.replace(events[index], **change)
            plainer = _with(schedule, events)
            if plainer != schedule and fails(plainer):
                schedule = plainer
    return schedule


def _plainer_worlds() -> tuple[Callable[[Schedule], Schedule], ...]:
    """Return what would make a world easier to read, one thing each."""
    return (
        _ending_with_its_events,
        partial(_with_shape, nodes=1),
        partial(_with_shape, dual=False),
        partial(_with_shape, exclusive=False, prefixes=0),
    )


def _ending_with_its_events(schedule: Schedule) -> Schedule:
    last = max((one.at for one in schedule.events), default=0.0)
    return msgspec.structs.replace(schedule, length_s=float(round(last) + 1))


def _with_shape(schedule: Schedule, **changes: int) -> Schedule:
    shape = msgspec.structs.replace(schedule.shape, **changes)
    return msgspec.structs.replace(schedule, shape=shape)


def _plainer(event: Event) -> list[dict[str, float]]:
    """Return changes that would make an event easier to read."""
    rounder: dict[str, float] = {"at": float(round(event.at))}
    match event:
        case Kill():
            return [rounder, {"after_calls": 0}]
        case AddPod():
            return [rounder, {"networks": 1}, {"megabits": 0}]
        case _:
            return [rounder]
