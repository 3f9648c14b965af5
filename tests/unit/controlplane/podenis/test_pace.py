"""When an ENI is looked at: hardly before it can be ready, and shortly after it is."""

from __future__ import annotations

import pytest

from terway.controlplane.podenis.pace import Kind, Pace, Work

MEMBER = Kind(Work.ATTACH, is_member=True)


def looks(pace: Pace, took_s: float, kind: Kind | None = MEMBER) -> tuple[float, int]:
    """Return when something that takes so long is seen, and by how many looks."""
    passed_s, count = 0.0, 0
    while passed_s < took_s:
        passed_s += pace.next_s(kind, passed_s)
        count += 1
    return passed_s, count


def learnt(*took_s: float) -> Pace:
    pace = Pace()
    for one in took_s:
        pace.learn(MEMBER, one)
    return pace


@pytest.mark.parametrize("took_s", [0.3, 1.0, 3.0, 10.0])
def test_what_takes_as_long_as_of_late_is_seen_at_once_by_few_looks(took_s):
    seen_s, count = looks(learnt(took_s), took_s)

    assert seen_s - took_s <= 0.05 * took_s
    assert count <= 10
    assert count < looks(Pace(), took_s)[1] or took_s < 1


@pytest.mark.parametrize("took_s", [0.5, 2.0, 20.0])
def test_where_nothing_is_known_a_tenth_of_the_time_is_lost_at_most(took_s):
    seen_s, _ = looks(Pace(), took_s)

    assert seen_s - took_s <= max(0.1, 0.1 * took_s)


def test_a_cloud_that_becomes_faster_is_followed():
    pace = learnt(10.0)
    for _ in range(25):
        pace.learn(MEMBER, looks(pace, 1.0)[0])

    assert looks(pace, 1.0)[0] < 1.1


def test_one_quick_answer_among_slow_ones_is_reckoned_with():
    assert looks(learnt(5.0, 1.0, 5.0), 1.0)[0] < 1.1


def test_what_is_unlike_is_learnt_for_itself():
    pace = learnt(10.0)

    assert pace.next_s(Kind(Work.DETACH, is_member=True), 0.0) == pytest.approx(0.1)
    assert pace.next_s(None, 0.0) == pytest.approx(0.1)


@pytest.mark.parametrize("passed_s", [0.0, 5.0, 50.0, 5000.0])
def test_a_look_is_never_long_in_coming(passed_s):
    assert 0 < learnt(600.0).next_s(MEMBER, passed_s) <= 3.0
