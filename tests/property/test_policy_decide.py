"""Does the fast answer always equal the true one?"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.address import Family
from terway.model.errors import UsageError
from terway.policy.cluster import Cluster
from terway.policy.compiling.decide import Decider
from terway.policy.flow import Flow
from tests.support.policy_worlds import World, flows, worlds
from tests.support.small_clusters import pods
from tests.support.small_policies import policy_sets


def answer(ask: Callable[[Flow], bool], flow: Flow) -> bool | str:
    """Return what is said, or what is wrong with the question."""
    try:
        return ask(flow)
    except UsageError as error:
        return str(error)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_decider_says_what_evaluate_says(data):
    world = data.draw(worlds(max_pods=8))
    decider = Decider(world.cluster, world.policies)

    for flow in data.draw(st.lists(flows(world), min_size=1, max_size=20)):
        assert answer(decider.allowed, flow) == answer(world.allows, flow), flow


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_it_does_so_where_pods_claim_each_others_addresses(data):
    claiming = {pod.key: pod for pod in data.draw(st.lists(pods(), min_size=2, max_size=9))}
    world = World(cluster=Cluster(pods=claiming), policies=data.draw(policy_sets()))
    decider = Decider(world.cluster, world.policies)

    for flow in data.draw(st.lists(flows(world), min_size=1, max_size=20)):
        assert answer(decider.allowed, flow) == answer(world.allows, flow), flow


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_family_that_is_asked_for_is_taken(data):
    world = data.draw(worlds())
    decider = Decider(world.cluster, world.policies)
    flow = data.draw(flows(world))
    asked = Flow(
        source=flow.source,
        destination=flow.destination,
        port=80,
        family=data.draw(st.sampled_from(list(Family))),
    )

    assert answer(decider.allowed, asked) == answer(world.allows, asked)
