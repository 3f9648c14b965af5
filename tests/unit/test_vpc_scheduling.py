"""Who gets new connections, by weight: shares are exact, and who comes or goes moves few others."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.vpc.contract import LISTENER_SLOTS
from terway.lab.vpc.scheduling import slots_of
from terway.lab.vpc.state import Listener, Scheduler, Server

FIRST = IPv4Address("192.168.32.1")
HASHED = (Scheduler.TUPLE, Scheduler.SOURCE)


def listener(weights, scheduler, **changes):
    servers = tuple(
        Server(address=FIRST + place, port=8080, weight=weight, **changes)
        for place, weight in enumerate(weights)
    )
    return Listener(protocol=6, port=80, servers=servers, scheduler=scheduler)


def test_turns_are_taken_as_often_as_weights_say_and_well_mixed():
    assert slots_of(listener([50, 10, 10], Scheduler.TURNS)) == (0, 0, 1, 0, 2, 0, 0)


def test_a_backend_without_weight_or_health_gets_nothing_new():
    for scheduler in Scheduler:
        assert set(slots_of(listener([100, 0, 100], scheduler))) == {0, 2}
        assert slots_of(listener([100], scheduler, is_healthy=False)) == ()


@settings(max_examples=50, deadline=None)
@given(weights=st.lists(st.integers(0, 100), min_size=1, max_size=64))
def test_turns_never_need_more_slots_than_there_are_and_forget_nobody(weights):
    slots = slots_of(listener(weights, Scheduler.TURNS))

    assert len(slots) <= LISTENER_SLOTS
    assert set(slots) == {place for place, weight in enumerate(weights) if weight}


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 12), gone=st.integers(0, 11), scheduler=st.sampled_from(HASHED))
def test_a_hashed_backend_that_goes_moves_only_its_own_share(count, gone, scheduler):
    gone %= count
    before = slots_of(listener([100] * count, scheduler))
    weights = [0 if place == gone else 100 for place in range(count)]
    after = slots_of(listener(weights, scheduler))

    assert all(one == other for one, other in zip(before, after, strict=True) if one != gone)


def test_hashed_shares_follow_weights():
    shares = Counter(slots_of(listener([100, 100, 50], Scheduler.SOURCE)))

    assert shares[2] < min(shares[0], shares[1])
