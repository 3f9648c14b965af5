"""A small simulated cluster: what is promised of a large one, but for how long it really takes."""

from __future__ import annotations

import pytest

from terway.lab.cloud.throttle import REAL_LIMITS
from terway.lab.scale.plan import ScalePlan
from terway.lab.scale.run import simulate

# The limits of creating and attaching are as much smaller as the cluster is.
SCARCE = {**REAL_LIMITS, "CreateNetworkInterface": 20, "AttachNetworkInterface": 20}

ATTACH_S = 8.0  # until the first is served, however many come


@pytest.fixture(scope="module", params=[0.05, 3.0], ids=["fresh caches", "stale caches"])
def outcome(request):
    plan = ScalePlan(nodes=100, call_limits=SCARCE, watch_lag_s=request.param)
    return simulate(plan)[0]


def test_all_pods_have_addresses_in_little_more_than_the_call_limits_allow(outcome):
    assert outcome.unserved == 0
    assert outcome.over_least <= 1.3


def test_nobody_is_asked_more_often_than_he_allows(outcome):
    """Bug class 8: no storm of calls, however many nodes begin at once."""
    assert outcome.throttled == 0


def test_no_call_is_made_that_could_be_spared(outcome):
    """However old the caches are: what is on its way is not asked for again."""
    changing = {
        action: count
        for action, count in outcome.calls.items()
        if not action.startswith("Describe")
    }
    assert changing == dict(outcome.plan.least_calls)


def test_no_node_starves(outcome):
    waits = outcome.node_waits_s
    assert len(waits) == 100
    assert waits[98] <= 3 * waits[49]


@pytest.mark.parametrize(
    ("instance_type", "per_eni"),
    [("ecs.c6.3xlarge", 10), ("ecs.c7.3xlarge", 15), ("ecs.g7.4xlarge", 30)],
)
def test_nobody_starves_whatever_his_type(instance_type, per_eni):
    """How many pods one call serves differs; that the last waits for the limits only, does not."""
    plan = ScalePlan(
        nodes=25,
        pods_per_node=46,
        instance_type=instance_type,
        addresses_per_eni=per_eni,
        call_limits=SCARCE,
    )

    outcome, _ = simulate(plan)

    assert outcome.unserved == 0
    assert outcome.waits_s[-1] <= 1.3 * plan.least_s + ATTACH_S
    assert outcome.node_waits_s[-1] <= 3 * outcome.node_waits_s[len(outcome.node_waits_s) // 2]


def test_pods_that_a_node_has_no_room_for_cost_no_calls():
    """Bug class 2: nothing is created for pods that can never be served."""
    full = ScalePlan(nodes=2, pods_per_node=50, patience_s=600.0)

    outcome, _ = simulate(full)

    assert outcome.unserved == 2 * 5
    assert outcome.calls["CreateNetworkInterface"] == 2 * 3
    assert sum(outcome.calls.values()) < 30
