"""Whatever happens to pods, nodes and the control plane: no ENI is shared, early gone, or lost."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.pod_network import ELASTIC, FOR_EVER, Lifetime
from terway.podeni.record import Phase, Record
from tests.support.pod_eni_world import PaperWorld

TTL_S = 600.0
FIXED = Lifetime(is_fixed=True, ttl_s=TTL_S)
LONGER = Lifetime(is_fixed=True, ttl_s=2 * TTL_S)

numbers = st.integers(0, 2)
Event = Callable[[PaperWorld], object]


def run_enis(world: PaperWorld, is_heard: bool) -> None:
    for eni_id in list(world.wishes):
        world.run_eni(eni_id, is_heard=is_heard)


def pass_time(world: PaperWorld, seconds: float) -> None:
    world.now += seconds


events: st.SearchStrategy[Event] = st.one_of(
    st.one_of(st.none(), numbers).map(lambda n: lambda world: world.make_pod(n)),
    numbers.map(lambda n: lambda world: world.schedule(n)),
    st.sampled_from(
        [
            PaperWorld.delete_pod,
            PaperWorld.finish_pod,
            PaperWorld.terminate_pod,
            PaperWorld.run_pod,
            PaperWorld.settle_cloud,
            PaperWorld.settle,
            PaperWorld.settle,
            PaperWorld.create_unrecorded,
            PaperWorld.delete_by_hand,
            PaperWorld.attach_by_hand,
            PaperWorld.sweep,
        ]
    ),
    st.integers(0, 3).map(lambda n: lambda world: world.run_record(n)),
    st.integers(0, 3).map(lambda n: lambda world: world.run_record(n)),
    st.booleans().map(lambda heard: lambda world: run_enis(world, heard)),
    st.booleans().map(lambda heard: lambda world: run_enis(world, heard)),
    numbers.map(lambda n: lambda world: world.lose_node(n)),
    numbers.map(lambda n: lambda world: world.add_node(n)),
    st.sampled_from([1.0, 300.0, 650.0]).map(lambda s: lambda world: pass_time(world, s)),
)
begun = st.sampled_from(["nothing", "bound", "kept", "claimed"])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A beginning in the middle of things, then anything."""
    first: list[Event] = {
        "nothing": [],
        "bound": [lambda world: world.make_pod(0), PaperWorld.settle],
        "kept": [lambda world: world.make_pod(0), PaperWorld.settle, PaperWorld.delete_pod],
        "claimed": [
            lambda world: world.make_pod(0),
            PaperWorld.settle,
            PaperWorld.delete_pod,
            PaperWorld.settle,
            lambda world: world.make_pod(None),
            PaperWorld.settle,
        ],
    }[draw(begun)]
    return first + draw(st.lists(events, max_size=30))


lifetimes = st.lists(
    st.sampled_from([ELASTIC, FIXED, LONGER, FOR_EVER]), min_size=1, max_size=3
).map(tuple)


def recorded(world: PaperWorld) -> Record:
    assert world.record is not None
    return world.record


@given(lifetimes, histories())
@settings(max_examples=200)
def test_no_history_shares_an_eni_or_takes_it_too_early(kinds, history):
    """Bug class 7: the same ENI for two pods after a restart. The world itself checks each step."""
    world = PaperWorld(lifetimes=kinds)

    for happen in history:
        happen(world)


@given(lifetimes, histories())
@settings(max_examples=200)
def test_a_pod_that_stays_gets_its_interfaces_after_any_history(kinds, history):
    """Bug class 1: a pod that waits though there is all that it needs."""
    world = PaperWorld(lifetimes=kinds)
    for happen in history:
        happen(world)

    world.delete_pod()
    world.settle()
    world.add_node(1)
    world.make_pod(1)
    world.settle()

    assert world.record is not None
    assert world.record.phase is Phase.BIND
    assert world.pod is not None
    assert world.record.pod_uid == world.pod.uid


@given(lifetimes, histories())
@settings(max_examples=200)
def test_nothing_is_left_when_every_time_is_over(kinds, history):
    """Bug class 2: an ENI that leaks when the control plane dies between any two steps."""
    world = PaperWorld(lifetimes=kinds)
    for happen in history:
        happen(world)

    world.delete_pod()
    world.settle()
    world.delete_by_hand()  # for those that are kept for ever
    pass_time(world, 3600.0)
    world.settle()
    world.sweep()

    assert (world.record, world.wishes, world.cloud) == (None, {}, {})


@given(lifetimes, histories())
def test_a_second_look_at_a_settled_world_changes_nothing(kinds, history):
    world = PaperWorld(lifetimes=kinds)
    for happen in history:
        happen(world)
    world.settle()

    before = repr(world)
    world.run_record()
    run_enis(world, is_heard=True)

    assert repr(world) == before


@given(numbers, numbers, st.booleans())
def test_the_same_name_has_the_same_eni_on_whichever_node(first, second, is_lost):
    world = PaperWorld(lifetimes=(FIXED,))
    world.make_pod(first)
    world.settle()
    had = recorded(world).eni_ids

    if is_lost:
        world.lose_node(first)
        world.add_node(second)
    world.delete_pod()
    world.settle()
    pass_time(world, TTL_S - 1)
    world.settle()
    world.make_pod(second)
    world.settle()

    assert recorded(world).phase is Phase.BIND
    assert recorded(world).eni_ids == had


def test_of_mixed_interfaces_each_goes_in_its_own_time():
    world = PaperWorld(lifetimes=(ELASTIC, FIXED, FOR_EVER))
    world.make_pod(0)
    world.settle()
    _, short, ever = recorded(world).eni_ids

    world.delete_pod()
    world.settle()
    assert recorded(world).eni_ids == (short, ever)

    pass_time(world, TTL_S)
    world.settle()
    assert recorded(world).eni_ids == (ever,)

    world.make_pod(1)
    world.settle()
    assert recorded(world).phase is Phase.BIND
    assert len(recorded(world).eni_ids) == 3
    assert recorded(world).eni_ids[2] == ever


def test_a_pod_on_the_same_node_gets_the_eni_only_after_it_was_taken_off():
    """Bug class 17: a force-deleted pod may still run there."""
    world = PaperWorld(lifetimes=(FIXED,))
    world.make_pod(0)
    world.settle()
    (eni_id,) = recorded(world).eni_ids
    world.delete_pod()
    world.make_pod(0)

    for _ in range(10):
        world.run_record()

    assert recorded(world).phase is Phase.DETACHING
    assert world.wishes[eni_id].phase is Phase.DETACHING
    world.settle()
    assert (recorded(world).phase, world.detached[eni_id]) == (Phase.BIND, 1)


def test_a_pod_that_was_never_scheduled_was_seen_all_the_same():
    world = PaperWorld(lifetimes=(FIXED,))
    world.make_pod(0)
    world.settle()
    world.delete_pod()
    world.settle()

    world.make_pod(None)
    world.settle()
    pass_time(world, 10 * TTL_S)
    world.settle()
    world.delete_pod()
    world.settle()
    pass_time(world, TTL_S - 1)
    world.settle()

    assert world.record is not None


def test_an_eni_that_somebody_attached_elsewhere_comes_back():
    world = PaperWorld(lifetimes=(FIXED,))
    world.make_pod(0)
    world.settle()
    world.delete_pod()
    world.settle()

    world.attach_by_hand()
    world.make_pod(1)
    world.settle()

    assert recorded(world).phase is Phase.BIND


def test_nothing_is_deleted_under_a_pod_that_runs():
    world = PaperWorld(lifetimes=(ELASTIC,))
    world.make_pod(0)
    world.settle()

    world.delete_by_hand()
    world.settle()
    assert world.cloud

    world.delete_pod()
    world.settle()
    assert (world.record, world.cloud) == (None, {})
