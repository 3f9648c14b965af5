"""What came before what, whatever a clock was set to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from terway.agent.moments import read_moment
from terway.model.moment import Moment

NOW = Moment(boot_id="now", seconds=100.0)


def at(boot_id: str, seconds: float) -> Moment:
    return Moment(boot_id=boot_id, seconds=seconds)


@pytest.mark.parametrize(
    ("made", "asked", "is_before"),
    [
        (at("now", 1), at("now", 2), True),
        (at("now", 2), at("now", 1), False),
        (at("now", 1), at("now", 1), False),
        (at("old", 900), at("now", 1), True),
        (at("now", 1), at("old", 900), False),
        (at("old", 2), at("old", 1), False),
        (at("older", 2), at("old", 1), True),
        (at("now", 1), at("", 0), False),
    ],
)
def test_the_start_of_the_machine_decides_then_the_seconds_since(made, asked, is_before):
    assert made.is_before(asked, now=NOW) is is_before


def test_the_present_moment_is_read_from_what_nobody_can_set():
    first, second = read_moment(), read_moment()

    assert first.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert first.seconds <= second.seconds <= time.clock_gettime(time.CLOCK_BOOTTIME)
