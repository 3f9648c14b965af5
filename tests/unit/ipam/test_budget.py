"""Calls are spent from a bucket that adapts to what the cloud can bear."""

from __future__ import annotations

from terway.ipam.budget import Budget
from terway.ipam.chance import backoff_s, fraction


def full() -> Budget:
    return Budget.full(rate=2.0, burst=3.0, now=0.0)


def test_a_burst_can_be_spent_at_once_and_no_more():
    budget, spent = full(), 0
    while budget.can_spend(0.0):
        budget, spent = budget.spent(), spent + 1

    assert spent == 3


def test_it_says_when_the_next_call_can_be_made_and_keeps_the_word():
    budget = full().spent().spent().spent()

    ready_at = budget.ready_at(0.0)

    assert 0.5 <= ready_at < 0.51
    assert budget.refilled(ready_at).can_spend(ready_at)
    assert not budget.refilled(ready_at - 0.01).can_spend(ready_at - 0.01)


def test_it_never_holds_more_than_the_burst():
    assert full().refilled(1000.0).tokens == 3.0


def test_throttling_halves_the_rate_and_closes_for_as_long_as_the_cloud_asks():
    budget = full().throttled(10.0, 5.0)

    assert budget.rate == 1.0
    assert not budget.refilled(14.9).can_spend(14.9)
    assert budget.refilled(15.0).can_spend(15.0)


def test_the_rate_recovers_step_by_step_and_never_dies():
    budget = full()
    for _ in range(50):
        budget = budget.throttled(0.0, 0.0)
    assert budget.rate > 0

    for _ in range(50):
        budget = budget.answered()
    assert budget.rate == 2.0


def test_waits_double_up_to_a_minute_and_differ_from_node_to_node():
    waits = [backoff_s(failures, seed="a") for failures in range(1, 20)]

    assert all(0.5 <= wait <= 60.0 for wait in waits)
    assert waits[10] > 10 * waits[0]
    assert waits != [backoff_s(failures, seed="b") for failures in range(1, 20)]


def test_chance_is_the_same_in_a_replay():
    assert fraction("node-1", 7) == fraction("node-1", 7)
