"""Whose turn it is: one key at a time, nothing forgotten, nobody starved."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from terway.controlplane.queue import URGENT_IN_A_ROW, WorkQueue


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(rng=Random(1), initial_s=1.0, maximum_s=16.0)


def taken(queue: WorkQueue[str], now: float = 0.0) -> str | None:
    turn = queue.take(now=now)
    return turn.key if turn is not None else None


def test_a_key_added_twice_has_one_turn(queue):
    queue.add("a", now=0.0)
    queue.add("a", now=1.0)

    assert taken(queue) == "a"
    assert taken(queue) is None


def test_a_key_is_not_worked_twice_at_a_time(queue):
    queue.add("a", now=0.0)
    assert taken(queue) == "a"

    queue.add("a", now=1.0, urgent=True)

    assert taken(queue, 1.0) is None


def test_a_key_that_was_added_while_it_was_worked_is_worked_again(queue):
    queue.add("a", now=0.0)
    taken(queue)
    queue.add("a", now=1.0)

    queue.done("a", now=2.0)

    assert taken(queue, 2.0) == "a"


def test_a_done_key_that_nobody_added_rests(queue):
    queue.add("a", now=0.0)
    taken(queue)

    queue.done("a", now=1.0)

    assert taken(queue, 1000.0) is None
    assert queue.next_at() is None


def test_a_round_says_when_the_next_is_due(queue):
    queue.add("a", now=0.0)
    taken(queue)

    queue.done("a", now=1.0, again_in_s=10.0)

    assert queue.next_at() == 11.0
    assert taken(queue, 10.9) is None
    assert taken(queue, 11.0) == "a"


def test_what_happens_makes_a_delayed_key_due_at_once(queue):
    queue.add_after("a", 3600.0, now=0.0)

    queue.add("a", now=1.0)

    assert taken(queue, 1.0) == "a"
    queue.done("a", now=2.0)
    assert taken(queue, 3600.0) is None


def test_of_two_delays_the_shorter_counts(queue):
    queue.add_after("a", 10.0, now=0.0)
    queue.add_after("a", 5.0, now=0.0)
    queue.add_after("a", 7.0, now=0.0)

    assert queue.next_at() == 5.0


def test_waits_of_a_failing_key_double_up_to_the_ceiling(queue):
    queue.add("a", now=0.0)
    now, waits = 0.0, []
    for _ in range(8):
        assert taken(queue, now) == "a"
        waits.append(queue.failed("a", now=now))
        now += waits[-1]

    for times, wait_s in enumerate(waits):
        whole_s = min(1.0 * 2**times, 16.0)
        assert whole_s / 2 <= wait_s <= whole_s


def test_a_success_ends_the_waits(queue):
    now = 0.0
    queue.add("a", now=now)
    for _ in range(5):
        taken(queue, now)
        now += queue.failed("a", now=now)
    taken(queue, now)
    queue.done("a", now=now, again_in_s=0.0)

    taken(queue, now)

    assert queue.failed("a", now=now) <= 1.0


def test_an_error_that_asks_for_a_wait_gets_it(queue):
    queue.add("a", now=0.0)
    taken(queue)

    assert queue.failed("a", now=0.0, retry_after_s=60.0) == 60.0

    queue.add("a", now=1.0, urgent=True)
    assert taken(queue, 59.9) is None
    assert taken(queue, 60.0) == "a"


def test_who_fails_and_thereby_changes_its_own_object_does_not_run_in_a_circle(queue):
    """bug class 58: an update that fails makes an event, the event a round, the round an update."""
    queue.add("a", now=0.0)
    taken(queue)
    queue.add("a", now=0.0)

    wait_s = queue.failed("a", now=0.0)

    assert wait_s >= 0.5
    assert taken(queue, wait_s - 0.01) is None
    assert taken(queue, wait_s) == "a"


def test_what_happens_shortens_a_long_wait_to_the_first(queue):
    now = 0.0
    queue.add("a", now=now)
    for _ in range(6):
        taken(queue, now)
        now += queue.failed("a", now=now)
    taken(queue, now)
    assert queue.failed("a", now=now) >= 8.0

    queue.add("a", now=now)

    assert taken(queue, now + 1.0) == "a"


def test_urgent_keys_go_first(queue):
    for key in ("a", "b"):
        queue.add(key, now=0.0)
    queue.add("u", now=1.0, urgent=True)

    assert taken(queue) == "u"
    assert taken(queue) == "a"


def test_a_waiting_key_that_gets_urgent_changes_lanes_and_keeps_its_age(queue):
    for key in ("a", "b"):
        queue.add(key, now=0.0)
    queue.add("b", now=5.0, urgent=True)

    turn = queue.take(now=7.0)

    assert turn is not None
    assert (turn.key, turn.waited_s) == ("b", 7.0)


def test_a_failing_key_that_gets_urgent_is_urgent_once_it_is_due(queue):
    queue.add("a", now=0.0)
    taken(queue)
    queue.failed("a", now=0.0)
    queue.add("a", now=0.1, urgent=True)
    queue.add("b", now=0.2)

    assert taken(queue, 10.0) == "a"


def test_delays_that_events_overtake_leave_nothing_behind(queue):
    """bug class 55: a key with a resync of 12 h that is woken each second."""
    for second in range(10_000):
        queue.add("a", now=float(second))
        taken(queue, float(second))
        queue.done("a", now=float(second), again_in_s=43_200.0)

    assert len(queue._due) < 200


@settings(max_examples=60, deadline=None)
@given(
    waiting=st.integers(min_value=1, max_value=20),
    storm=st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=200, max_size=200),
)
def test_no_storm_of_urgent_keys_starves_an_ordinary_one(waiting, storm):
    queue: WorkQueue[str] = WorkQueue(rng=Random(0))
    for number in range(waiting):
        queue.add(f"ordinary-{number}", now=0.0)
    queue.add("u-seed", now=0.0, urgent=True)

    turns = []
    for urgent in storm:
        for number in urgent:
            queue.add(f"u-{number}", now=0.0, urgent=True)
        turn = queue.take(now=0.0)
        if turn is not None:
            turns.append(turn.key)
            queue.done(turn.key, now=0.0)

    for number in range(waiting):
        most = (URGENT_IN_A_ROW + 1) * (number + 1)
        assert f"ordinary-{number}" in turns[:most]


class QueueIsASetWithDates(RuleBasedStateMachine):
    """Whatever happens: what was added after its last turn began has another turn."""

    keys = st.sampled_from("abcdef")

    def __init__(self):
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue(rng=Random(3), initial_s=1.0, maximum_s=8.0)
        self.now = 0.0
        self.wanted: set[str] = set()
        self.working: set[str] = set()

    @rule(key=keys, urgent=st.booleans())
    def add(self, key, urgent):
        self.queue.add(key, now=self.now, urgent=urgent)
        self.wanted.add(key)

    @rule(key=keys, delay_s=st.floats(0, 20))
    def add_after(self, key, delay_s):
        self.queue.add_after(key, delay_s, now=self.now)
        if key not in self.working:
            self.wanted.add(key)

    @rule()
    def take(self):
        turn = self.queue.take(now=self.now)
        if turn is not None:
            assert turn.key not in self.working
            assert turn.key in self.wanted
            self.wanted.discard(turn.key)
            self.working.add(turn.key)

    @rule(key=keys, again_in_s=st.none() | st.floats(0, 20))
    def done(self, key, again_in_s):
        if key in self.working:
            self.working.discard(key)
            self.queue.done(key, now=self.now, again_in_s=again_in_s)
            if again_in_s is not None:
                self.wanted.add(key)

    @rule(key=keys, retry_after_s=st.floats(0, 5))
    def failed(self, key, retry_after_s):
        if key in self.working:
            self.working.discard(key)
            assert self.queue.failed(key, now=self.now, retry_after_s=retry_after_s) <= 8.0
            self.wanted.add(key)

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def no_key_is_in_two_places(self):
        queue = self.queue
        again = {key for key, wish in queue._working.items() if wish is not None}
        waiting = [*queue._urgent, *queue._ordinary, *queue._delayed]
        assert len(waiting) == len(set(waiting))
        assert set(waiting).isdisjoint(queue._working)
        assert set(waiting) | again == self.wanted
        assert set(queue._working) == self.working

    def teardown(self):
        # In the end everybody who is wanted has had a turn, within the longest wait.
        for key in tuple(self.working):
            self.done(key, None)
        self.now += 20.0
        while self.wanted:
            turn = self.queue.take(now=self.now)
            assert turn is not None
            self.wanted.discard(turn.key)
            self.queue.done(turn.key, now=self.now)
        assert self.queue.take(now=self.now) is None


TestQueue = QueueIsASetWithDates.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
