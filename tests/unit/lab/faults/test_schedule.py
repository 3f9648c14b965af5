"""A schedule is a value: from a seed, to YAML and back, and shorter."""

from __future__ import annotations

from typing import get_args

import pytest

from terway.lab.faults.events import AddPod, Event, Kill, LoseReplies
from terway.lab.faults.generate import generate
from terway.lab.faults.schedule import Schedule, Shape, dump_schedule, parse_schedule
from terway.lab.faults.shrink import shrink
from terway.model.errors import UsageError


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_reads_as_it_was(seed):
    schedule = generate(seed)

    assert parse_schedule(dump_schedule(schedule)) == schedule


def test_a_seed_is_always_the_same_history():
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)


def test_seeds_bring_every_kind_of_event():
    kinds = {type(one).__name__ for seed in range(1500) for one in generate(seed).events}

    # Packets that are lost or late need packets; the metadata service is read at the start only.
    left_out = {"Impair", "StaleMetadata"}
    assert {one.__name__ for one in get_args(Event)} - left_out == kinds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nlength_s: 3\nevents: [{do: explode, at: 1}]", "explode"),
        ("seed: 1\nlength_s: 3\nevents: [{do: kill}]", r"at.*\$\.events\[0\]|`at`"),
        ("seed: 1\nlength_s: 3\nevents: [{do: kill, at: 1, when: never}]", "never"),
        ("seed: 1\nlength_s: 3\nspeed: 4", "speed"),
        ("seed: [", "schedule"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_place(text, says):
    with pytest.raises(UsageError, match=says):
        parse_schedule(text)


def test_shrinking_leaves_nothing_that_is_not_needed():
    others = [one for one in generate(21).events if not isinstance(one, Kill | LoseReplies)]
    events = (*others[:4], Kill(at=3.217, after_calls=5), *others[4:], LoseReplies(at=9.0))

    def fails(one: Schedule) -> bool:
        kinds = [type(event) for event in one.events]
        return Kill in kinds and LoseReplies in kinds

    short = shrink(Schedule(seed=1, length_s=99.0, events=events), fails)

    assert short.events == (Kill(at=3.0), LoseReplies(at=9.0))


def test_shrinking_makes_pods_and_nodes_ordinary():
    shape = Shape(nodes=2, exclusive=True)
    wishes = AddPod(at=1.0, container="c", pod="p", networks=2, megabits=10)

    short = shrink(Schedule(seed=1, length_s=9.0, shape=shape, events=(wishes,)), has_events)

    assert short.shape == Shape(dual=False)
    assert short.events == (AddPod(at=1.0, container="c", pod="p"),)


def has_events(schedule: Schedule) -> bool:
    return bool(schedule.events)


def test_shrinking_asks_no_more_often_than_it_may():
    asked = []

    def fails(one: Schedule) -> bool:
        asked.append(one)
        return True

    shrink(generate(3), fails, tries=5)

    assert len(asked) == 5
