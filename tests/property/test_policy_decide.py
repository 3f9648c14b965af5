"""Does the fast answer always equal the true one?"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.address import Family
from terway.model.errors import UsageError
from terway.policy.cluster import Cluster
from terway.policy.compiling.decide import Decider
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow
from tests.support import policy_worlds as worlds


def answer(ask: Callable[[], bool]) -> bool | str:
    """Return what is said, or what is wrong with the question."""
    try:
        return ask()
    except UsageError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_decider_says_what_evaluate_says(data):
    world = data.draw(worlds.worlds(max_pods=8))
    decider = Decider(world.cluster, world.policies)

    for flow in data.draw(st.lists(worlds.flows(world), min_size=1, max_size=20)):
        truth = answer(lambda: evaluate(world.cluster, world.policies, flow).is_allowed)  # noqa: B023

        assert answer(lambda: decider.allowed(flow)) == truth, flow  # noqa: B023


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_it_does_so_where_pods_claim_each_others_addresses(data):
    pods = {pod.key: pod for pod in data.draw(st.lists(worlds.pods(), min_size=2, max_size=9))}
    policies = data.draw(st.lists(worlds.policies, max_size=4, unique_by=lambda one: one.key))
    world = worlds.World(cluster=Cluster(pods=pods), policies=tuple(policies))
    decider = Decider(world.cluster, world.policies)

    for flow in data.draw(st.lists(worlds.flows(world), min_size=1, max_size=20)):
        truth = answer(lambda: evaluate(world.cluster, world.policies, flow).is_allowed)  # noqa: B023

        assert answer(lambda: decider.allowed(flow)) == truth, flow  # noqa: B023


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_family_that_is_asked_for_is_taken(data):
    world = data.draw(worlds.worlds())
    decider = Decider(world.cluster, world.policies)
    flow = data.draw(worlds.flows(world))
    asked = Flow(
        source=flow.source,
        destination=flow.destination,
        port=80,
        family=data.draw(st.sampled_from(list(Family))),
    )

    truth = answer(lambda: evaluate(world.cluster, world.policies, asked).is_allowed)

    assert answer(lambda: decider.allowed(asked)) == truth
