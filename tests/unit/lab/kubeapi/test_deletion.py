"""How objects end: at once, in their own time, or when the last finalizer is gone."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import metadata, read_path
from terway.lab.kubeapi.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    NAMESPACE,
    POD,
    REPLICA_SET,
)
from tests.support.cluster import Clock, deployment_manifest, make_cluster, pod_manifest
from tests.support.paper_kubelet import add_node, run_until_quiet


def running_pod(state):
    add_node(state, "n1")
    state.create(POD, pod_manifest())
    run_until_quiet(state)
    return state.get(POD, "a", "default").object


def test_a_pod_that_no_kubelet_has_goes_at_once():
    state = make_cluster()
    state.create(POD, pod_manifest())

    assert state.delete(POD, "a", "default") is None
    assert state.find(POD, "a", "default") is None


def test_a_running_pod_waits_for_its_kubelet():
    state = make_cluster()
    running_pod(state)

    waiting = state.delete(POD, "a", "default")

    assert waiting is not None
    assert metadata(waiting.object)["deletionGracePeriodSeconds"] == 30
    assert metadata(waiting.object)["deletionTimestamp"] == "2025-10-09T08:53:50Z"
    state.delete(POD, "a", "default", DeleteOptions(grace_s=0))
    assert state.find(POD, "a", "default") is None


def test_a_second_delete_can_shorten_the_wait_and_not_lengthen_it():
    state = make_cluster()
    running_pod(state)

    waits = []
    for grace_s in (20, 5, 10):
        state.delete(POD, "a", "default", DeleteOptions(grace_s=grace_s))
        held = state.get(POD, "a", "default").object
        waits.append(metadata(held)["deletionGracePeriodSeconds"])

    assert waits == [20, 5, 5]


def test_a_finished_pod_goes_at_once():
    state = make_cluster()
    running_pod(state)
    state.patch(POD, "a", "default", {"status": {"phase": "Succeeded"}}, subresource="status")

    assert state.delete(POD, "a", "default") is None


def test_an_object_with_finalizers_goes_with_the_last():
    state = make_cluster()
    state.create(CONFIG_MAP, {"metadata": {"name": "x", "finalizers": ["a/b", "a/c"]}}, "default")

    state.delete(CONFIG_MAP, "x", "default")
    state.patch(CONFIG_MAP, "x", "default", {"metadata": {"finalizers": ["a/c"]}})
    assert state.find(CONFIG_MAP, "x", "default") is not None
    state.patch(CONFIG_MAP, "x", "default", {"metadata": {"finalizers": []}})

    assert state.find(CONFIG_MAP, "x", "default") is None


def test_a_delete_that_means_another_object_of_the_name_is_a_conflict():
    state = make_cluster()
    state.create(POD, pod_manifest())

    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: other"):
        state.delete(POD, "a", "default", DeleteOptions(uid="other"))


def test_what_an_object_owns_goes_with_it():
    state = make_cluster()
    add_node(state, "n1")
    state.create(DEPLOYMENT, deployment_manifest())
    run_until_quiet(state)

    state.delete(DEPLOYMENT, "web", "default")
    run_until_quiet(state)

    assert state.list(REPLICA_SET) == []
    assert state.list(POD) == []


def test_orphans_stay_and_find_a_new_owner():
    state = make_cluster()
    add_node(state, "n1")
    state.create(DEPLOYMENT, deployment_manifest())
    run_until_quiet(state)
    before = [metadata(pod)["uid"] for pod in state.list(POD)]

    state.delete(DEPLOYMENT, "web", "default", DeleteOptions(propagation="Orphan"))
    run_until_quiet(state)

    assert state.find(DEPLOYMENT, "web", "default") is None
    (replica_set,) = state.list(REPLICA_SET)
    assert "ownerReferences" not in metadata(replica_set)
    assert [metadata(pod)["uid"] for pod in state.list(POD)] == before


def test_a_foreground_deletion_takes_the_owner_last():
    state = make_cluster()
    add_node(state, "n1")
    state.create(DEPLOYMENT, deployment_manifest())
    run_until_quiet(state)

    state.delete(DEPLOYMENT, "web", "default", DeleteOptions(propagation="Foreground"))
    settle(state)
    assert state.find(DEPLOYMENT, "web", "default") is not None
    assert len(state.list(REPLICA_SET)) == 1
    assert len(state.list(POD)) == 3
    run_until_quiet(state)

    assert state.find(DEPLOYMENT, "web", "default") is None


def test_a_namespace_goes_when_all_in_it_is_gone():
    state = make_cluster()
    add_node(state, "n1")
    state.create(NAMESPACE, {"metadata": {"name": "ns"}})
    manifest = pod_manifest()
    manifest["metadata"]["namespace"] = "ns"
    state.create(POD, manifest)
    run_until_quiet(state)

    state.delete(NAMESPACE, "ns")
    settle(state)
    ending = state.get(NAMESPACE, "ns").object
    with pytest.raises(ApiError, match="because it is being terminated") as caught:
        state.create(CONFIG_MAP, {"metadata": {"name": "late"}}, "ns")
    run_until_quiet(state)

    assert read_path(ending, "status.phase") == "Terminating"
    assert caught.value.code == 403
    assert state.find(NAMESPACE, "ns") is None


def about_the_pod(state):
    return [event for event in state.list(EVENT) if event["involvedObject"]["kind"] == "Pod"]


def test_events_are_kept_for_an_hour():
    clock = Clock()
    state = make_cluster(clock)
    running_pod(state)
    assert about_the_pod(state)

    clock.move(3601)
    settle(state)

    assert about_the_pod(state) == []
