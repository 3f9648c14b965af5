"""Alike within a second is one record, and never more than a bound are open."""

from __future__ import annotations

from terway.agent.flows.fold import Folds
from tests.unit.policy.test_recorded import DENIED


def test_a_second_of_the_same_is_one_record_with_its_count():
    folds = Folds()
    assert not folds.count("a", "table")
    folds.begin("a", "table", DENIED, now=10.0)
    assert folds.count("a", "table")
    assert folds.close(now=10.9) == ()
    assert folds.next_at == 11.0
    (closed,) = folds.close(now=11.0)
    assert closed.count == 2
    assert not folds.count("a", "table")
    assert folds.next_at is None


def test_where_too_many_are_open_the_oldest_is_closed_early():
    folds = Folds(most=2)
    assert folds.begin("a", "table", DENIED, now=1.0) is None
    assert folds.begin("b", "table", DENIED, now=2.0) is None
    folds.count("a", "table")
    closed = folds.begin("c", "table", DENIED, now=2.5)
    assert closed is not None
    assert closed.count == 2
    assert len(folds.close(now=5.0)) == 2


def test_what_two_see_of_the_same_is_counted_once():
    folds = Folds()
    folds.begin("a", "table", DENIED, now=1.0)
    for seer in ("program", "program", "table", "program"):
        folds.count("a", seer)
    (closed,) = folds.close(now=5.0)
    assert closed.count == 3
