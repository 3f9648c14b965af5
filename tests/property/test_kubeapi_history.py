"""The history of a cluster: revisions only grow, and a watch from any of them misses nothing."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.listing import ListOptions
from terway.lab.kubeapi.objects import labels_of, name_of
from terway.lab.kubeapi.resources import CONFIG_MAP, SECRET
from terway.lab.kubeapi.selectors import parse_selector
from terway.lab.kubeapi.watching import (
    DELETED,
    ERROR,
    Closing,
    WatchOptions,
    watch,
)
from tests.support.cluster import make_cluster

NAMES = st.sampled_from(("a", "b", "c"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("create", "patch", "delete", "other")), NAMES, st.sampled_from("xyz")
    ),
    max_size=25,
)
PROFILE = settings(max_examples=60, deadline=None)


def play(state, step) -> None:
    verb, name, value = step
    try:
        match verb:
            case "create":
                labels = {"color": value}
                state.create(CONFIG_MAP, {"metadata": {"name": name, "labels": labels}}, "default")
            case "patch":
                patch = {"metadata": {"labels": {"color": value}}}
                state.patch(CONFIG_MAP, name, "default", patch)
            case "delete":
                state.delete(CONFIG_MAP, name, "default")
            case _:
                state.create(SECRET, {"metadata": {"generateName": name}}, "default")
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def snapshot(state, matches) -> dict[str, str]:
    return {
        name_of(obj): labels_of(obj)["color"] for obj in state.list(CONFIG_MAP, "default", matches)
    }


def replay(known: dict[str, str], state, options: WatchOptions) -> dict[str, str]:
    """Return what a watcher that knew `known` knows after its watch."""

    async def collect() -> list:
        return [frame async for frame in watch(state.store, options, Closing())]

    known = dict(known)
    last = options.since or 0
    for frame in asyncio.run(collect()):
        assert frame.type != ERROR
        revision = int(frame.stored.object["metadata"]["resourceVersion"])
        assert revision > last
        last = revision
        name = name_of(frame.stored.object)
        if frame.type == DELETED:
            del known[name]
        else:
            known[name] = labels_of(frame.stored.object)["color"]
    return known


@PROFILE
@given(STEPS)
def test_revisions_only_grow(steps):
    state = make_cluster()
    seen = [state.store.revision]

    for step in steps:
        play(state, step)
        seen.append(state.store.revision)

    assert seen == sorted(seen)


@PROFILE
@given(STEPS, st.sampled_from(("", "color=x", "color!=x", "color in (x,y)")))
def test_a_watch_from_any_revision_tells_exactly_what_came_after(steps, selector):
    state = make_cluster()
    matches = parse_selector(CONFIG_MAP, labels=selector)
    moments = [(state.store.revision, snapshot(state, matches))]
    for step in steps:
        play(state, step)
        moments.append((state.store.revision, snapshot(state, matches)))

    for revision, known in moments:
        options = WatchOptions(
            resource=CONFIG_MAP,
            since=revision,
            namespace="default",
            matches=matches,
            timeout_s=0.001,
        )
        assert replay(known, state, options) == moments[-1][1]


@PROFILE
@given(STEPS, STEPS, st.integers(1, 3))
def test_pages_are_of_one_moment_whatever_happens_between_them(before, between, limit):
    state = make_cluster()
    for step in before:
        play(state, step)
    expected = snapshot(state, lambda obj: True)

    found: dict[str, str] = {}
    steps = iter(between)
    page = state.page(CONFIG_MAP, ListOptions(namespace="default", limit=limit))
    while True:
        found |= {name_of(held.object): labels_of(held.object)["color"] for held in page.items}
        if not page.continue_:
            break
        if step := next(steps, None):
            play(state, step)
        page = state.page(
            CONFIG_MAP,
            ListOptions(namespace="default", limit=limit, continue_=page.continue_),
        )

    assert found == expected


@PROFILE
@given(STEPS)
def test_a_revision_beyond_the_history_is_gone(steps):
    state = make_cluster(history_limit=5)
    start = state.store.revision
    for step in steps:
        play(state, step)
    options = WatchOptions(resource=CONFIG_MAP, since=start, timeout_s=0.001)

    async def kinds() -> list[str]:
        return [frame.type async for frame in watch(state.store, options, Closing())]

    behind, seen = state.store.revision - start, asyncio.run(kinds())

    if behind <= 5:
        assert ERROR not in seen
    if behind >= 10:  # between the two the store may have cut its history already
        assert seen == [ERROR]
