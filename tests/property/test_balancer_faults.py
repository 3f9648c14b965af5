"""Load balancers end as asked, whatever the cloud answers meanwhile, and nobody is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.loadbalancer.plan import plan
from terway.model.balancer import ListenerProtocol
from terway.model.http_listener import CookieKind, StickySession
from tests.support.balancer_story import (
    CERTIFICATES,
    FAULTS,
    LOST,
    NAMES,
    PODS,
    SLOW,
    Story,
    Wish,
)

ENOUGH = 40  # rounds without faults
STICKY = StickySession(kind=CookieKind.INSERT, timeout_s=60)
POD_SETS = st.frozensets(st.integers(0, PODS - 1), min_size=1)
WISHES = st.builds(
    Wish,
    ports=st.lists(
        st.tuples(st.sampled_from(ListenerProtocol), st.integers(80, 81)),
        min_size=1,
        unique_by=lambda one: (one[0].transport, one[1]),
    ).map(frozenset),
    pods=POD_SETS,
    ending=st.just(frozenset()) | POD_SETS,
    ranges=st.lists(
        st.sampled_from([ip_network("10.0.0.0/8"), ip_network("203.0.113.0/24")]), unique=True
    ).map(tuple),
    leads_on=st.booleans(),
    sticky=st.sampled_from([None, STICKY]),
    certificate_id=st.sampled_from(CERTIFICATES),
    is_checked=st.booleans(),
)
Event = Callable[[Story], None]


def putting(name: str, wish: Wish) -> Event:
    return lambda story: story.put(name, wish)


def removing(name: str) -> Event:
    return lambda story: story.remove(name)


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(putting, st.sampled_from(NAMES), WISHES),
    st.builds(putting, st.sampled_from(NAMES), WISHES),
    st.builds(removing, st.sampled_from(NAMES)),
    st.just(Story.restart),
)
STEPS = st.lists(st.tuples(EVENTS, st.integers(0, 4)), min_size=1, max_size=8)
# After so many calls that go well, one that does not.
WRONGS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from((*FAULTS, LOST, SLOW))), min_size=3, max_size=20
)


async def play(story: Story, steps: list[tuple[Event, int]]) -> None:
    """Have things happen, with some rounds after each; then have all settle without faults."""
    for event, rounds in steps:
        event(story)
        for _ in range(rounds):
            await story.round()
    story.faults.clear()
    for _ in range(ENOUGH):
        await story.round()
    for held in story.kept.values():
        wanted = story.wanted(held)
        observed = await story.finder.find(wanted, story.cluster.vpc_id)
        assert plan(wanted, observed) == ()


@settings(max_examples=150, deadline=None)
@given(STEPS, WRONGS)
def test_all_is_as_asked_at_the_end_and_nothing_is_left_over(steps, wrongs):
    """Bug classes 2 and 13, of load balancers: errors with effect and without, and restarts."""
    story = Story(faults=[one for gap, wrong in wrongs for one in (*[None] * gap, wrong)])

    asyncio.run(play(story, steps))

    assert not any(one.is_leaving for one in story.kept.values())
    assert story.left() == story.due()
    ports = sum(len(one.wish.ports) for one in story.kept.values())
    assert len(story.serving) == ports
