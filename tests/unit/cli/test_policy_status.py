"""Is each policy in force wherever it should be? Joined from what the nodes say and the API has."""

from __future__ import annotations

from terway.cli.policy_objects import manifests_of
from terway.cli.policy_read import Found
from terway.cli.policy_status import state_lines, state_of
from terway.kube.policy_status import PolicyInForce, PolicyNodeStatus, PolicyReport
from terway.kube.types import ObjectMeta


def pod(name, node, **labels):
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": node},
    }


def policy(*, generation=3, egress=None):
    spec = {"podSelector": {"matchLabels": {"app": "web"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "default", "generation": generation},
        "spec": spec if egress is None else {**spec, "egress": egress},
    }


def says(node, *, generation=3, in_force=True, message=""):
    line = PolicyInForce(
        kind="NetworkPolicy",
        namespace="default",
        name="web",
        generation=generation,
        in_force=in_force,
        message=message,
    )
    return PolicyNodeStatus(metadata=ObjectMeta(name=node), status=PolicyReport(policies=(line,)))


def state(*statuses, made=None):
    pods = (pod("a", "n1", app="web"), pod("b", "n2", app="web"), pod("c", "n3", app="db"))
    raw = (made or policy(), *pods)
    return state_of(manifests_of(Found(raw=one, origin="test") for one in raw), statuses)


def test_a_policy_is_in_force_where_its_pods_are_and_nobody_else_is_asked():
    found = state(says("n1"), says("n2"))

    assert found.is_well
    assert found.policies[0].in_force == ("n1", "n2")
    assert "2/2 nodes" in "\n".join(state_lines(found))


def test_a_node_that_has_an_older_generation_or_says_nothing_is_stale():
    found = state(says("n1", generation=2))

    assert not found.is_well
    assert found.policies[0].stale == ("n1", "n2")
    assert "not yet on n1, n2" in "\n".join(state_lines(found))


def test_a_policy_that_cannot_be_read_is_faulty_with_the_reason():
    found = state(says("n1", in_force=False, message="spec.x: no"), says("n2"))

    assert found.policies[0].faulty == ("n1",)
    assert "NetworkPolicy default/web: spec.x: no" in state_lines(found)


def test_a_node_whose_filter_lags_behind_is_named():
    status = PolicyNodeStatus(
        metadata=ObjectMeta(name="n9"), status=PolicyReport(message="nft: no memory")
    )

    found = state(says("n1"), says("n2"), status)

    assert not found.is_well
    assert state_lines(found)[-1] == "node n9: nft: no memory"


def test_without_policies_all_is_said_in_a_line():
    found = state_of(manifests_of(()), ())

    assert found.is_well
    assert state_lines(found) == ["no policy in this cluster"]
