"""Alike within a second is one record, and never more than a bound are open."""

from __future__ import annotations

from terway.agent.flows.fold import Folds
from tests.unit.policy.test_recorded import DENIED


def test_a_second_of_the_same_is_one_record_with_its_count():
    folds = Folds()
    assert not folds.count("a")
    folds.begin("a", DENIED, now=10.0)
    assert folds.count("a")
    assert folds.close(now=10.9) == ()
    assert folds.next_at == 11.0
    (closed,) = folds.close(now=11.0)
    assert closed.count == 2
    assert not folds.count("a")
    assert folds.next_at is None


def test_where_too_many_are_open_the_oldest_is_closed_early():
    folds = Folds(most=2)
    assert folds.begin("a", DENIED, now=1.0) is None
    assert folds.begin("b", DENIED, now=2.0) is None
    folds.count("a")
    closed = folds.begin("c", DENIED, now=2.5)
    assert closed is not None
    assert closed.count == 2
    assert len(folds.close(now=5.0)) == 2
