"""Node pools of a plan: which node is of which kind, and how a plan is told to its process."""

from __future__ import annotations

from terway.lab.world.plan import (
    EXCLUSIVE_LABELS,
    LabPlan,
    NodePool,
    plan_from_json,
    plan_to_json,
)

PLAN = LabPlan(nodes=1, pools=(NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS),))


def test_nodes_are_named_after_their_pool():
    assert PLAN.node_names() == ("node-1", "eni-1", "eni-2")


def test_a_node_has_its_pools_type_and_labels_and_any_other_the_plans():
    assert PLAN.pool_of("eni-7").labels == EXCLUSIVE_LABELS
    assert PLAN.pool_of("node-1").instance_type == PLAN.instance_type
    assert PLAN.pool_of("another").labels == {}


def test_pools_survive_the_way_to_the_process_that_runs_the_lab():
    assert plan_from_json(plan_to_json(PLAN)) == PLAN
