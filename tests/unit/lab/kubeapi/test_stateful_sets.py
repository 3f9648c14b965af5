"""StatefulSets keep each pod's name, and their order, at every step of the way."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import (
    is_terminating,
    labels_of,
    name_of,
    read_path,
    replace_in,
    uid_of,
)
from terway.lab.kubeapi.resources import CONTROLLER_REVISION, EVENT, NODE, POD, STATEFUL_SET
from tests.support.cluster import Clock, deployment_manifest, make_cluster
from tests.support.paper_kubelet import add_node, confirm_end, make_ready, run_until_quiet


def manifest(replicas=3, image="busybox", **spec):
    obj = deployment_manifest(replicas=replicas, image=image)
    return replace_in(obj, "spec", {**obj["spec"], "serviceName": "web", **spec})


def cluster(clock=None, **spec):
    state = make_cluster(clock)
    for name in ("n1", "n2", "n3"):
        add_node(state, name)
    state.create(STATEFUL_SET, manifest(**spec))
    return state


def pods(state):
    return [name_of(pod) for pod in state.list(POD)]


def pod(state, name):
    return state.get(POD, name, "default").object


def images(state):
    return [read_path(one, "spec.containers")[0]["image"] for one in state.list(POD)]


def change(state, patch):
    state.patch(STATEFUL_SET, "web", "default", patch)


def set_image(state, image):
    template = manifest(image=image)["spec"]["template"]
    change(state, {"spec": {"template": template}})


def status(state):
    return state.get(STATEFUL_SET, "web", "default").object["status"]


def step(state, name):
    """Let the kubelet of one pod do what it has to do, then the controllers."""
    held = pod(state, name)
    confirm_end(state, held) if is_terminating(held) else make_ready(state, held)
    settle(state)


def test_pods_come_one_by_one_and_are_known_by_name_and_ordinal():
    state = cluster()

    settle(state)
    assert pods(state) == ["web-0"]
    step(state, "web-0")
    assert pods(state) == ["web-0", "web-1"]
    run_until_quiet(state)

    assert pods(state) == ["web-0", "web-1", "web-2"]
    last = pod(state, "web-2")
    assert (last["spec"]["hostname"], last["spec"]["subdomain"]) == ("web-2", "web")
    assert labels_of(last) == {
        "app": "web",
        "statefulset.kubernetes.io/pod-name": "web-2",
        "apps.kubernetes.io/pod-index": "2",
        "controller-revision-hash": status(state)["currentRevision"],
    }
    assert status(state)["readyReplicas"] == status(state)["currentReplicas"] == 3


def test_parallel_pods_come_all_at_once():
    state = cluster(podManagementPolicy="Parallel")

    settle(state)

    assert pods(state) == ["web-0", "web-1", "web-2"]


def test_ordinals_may_begin_elsewhere():
    state = cluster(ordinals={"start": 5}, replicas=2)

    run_until_quiet(state)

    assert pods(state) == ["web-5", "web-6"]


def test_the_last_goes_first_and_one_at_a_time():
    state = cluster()
    run_until_quiet(state)

    change(state, {"spec": {"replicas": 1}})
    settle(state)
    assert [is_terminating(one) for one in state.list(POD)] == [False, False, True]
    step(state, "web-2")
    assert [is_terminating(one) for one in state.list(POD)] == [False, True]
    run_until_quiet(state)

    assert pods(state) == ["web-0"]
    messages = [one["message"] for one in state.list(EVENT) if one["reason"] == "SuccessfulDelete"]
    assert sorted(messages) == [
        f"delete Pod web-{ordinal} in StatefulSet web successful" for ordinal in (1, 2)
    ]


def test_scaling_down_waits_while_another_pod_is_ill():
    state = cluster()
    run_until_quiet(state)
    ill = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    state.patch(POD, "web-0", "default", ill, subresource="status")

    change(state, {"spec": {"replicas": 1}})
    settle(state)

    assert not any(is_terminating(one) for one in state.list(POD))


def test_an_update_goes_down_from_the_last_and_waits_for_each():
    state = cluster()
    run_until_quiet(state)

    set_image(state, "new")
    settle(state)
    assert [is_terminating(one) for one in state.list(POD)] == [False, False, True]
    step(state, "web-2")  # gone; its successor of the same name is not ready yet
    assert images(state) == ["busybox", "busybox", "new"]
    assert not any(is_terminating(one) for one in state.list(POD))
    step(state, "web-2")
    assert is_terminating(pod(state, "web-1"))
    run_until_quiet(state)

    assert images(state) == ["new"] * 3
    assert status(state)["currentRevision"] == status(state)["updateRevision"]
    assert len(state.list(CONTROLLER_REVISION)) == 2


def test_below_the_partition_pods_stay_and_come_back_as_they_were():
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    state = cluster(updateStrategy=strategy)
    run_until_quiet(state)

    set_image(state, "new")
    run_until_quiet(state)
    assert images(state) == ["busybox", "busybox", "new"]
    state.delete(POD, "web-0", "default")
    run_until_quiet(state)

    assert images(state) == ["busybox", "busybox", "new"]
    assert status(state)["updatedReplicas"] == 1
    assert status(state)["currentRevision"] != status(state)["updateRevision"]


def test_on_delete_leaves_the_time_of_an_update_to_the_user():
    state = cluster(updateStrategy={"type": "OnDelete"})
    run_until_quiet(state)

    set_image(state, "new")
    run_until_quiet(state)
    assert images(state) == ["busybox"] * 3
    state.delete(POD, "web-1", "default")
    run_until_quiet(state)

    assert images(state) == ["busybox", "new", "busybox"]


def test_a_rollback_makes_the_old_revision_the_newest():
    state = cluster()
    run_until_quiet(state)
    first = status(state)["currentRevision"]
    set_image(state, "new")
    run_until_quiet(state)

    set_image(state, "busybox")
    run_until_quiet(state)

    revisions = {name_of(one): one["revision"] for one in state.list(CONTROLLER_REVISION)}
    assert status(state)["currentRevision"] == first
    assert max(revisions.values()) == revisions[first]


def test_old_revisions_are_forgotten_beyond_the_limit():
    state = cluster(revisionHistoryLimit=1)
    for image in ("busybox", "second", "third", "fourth"):
        set_image(state, image)
        run_until_quiet(state)

    assert len(state.list(CONTROLLER_REVISION)) == 2


def test_a_pod_that_has_run_to_its_end_is_made_again():
    state = cluster(replicas=1)
    run_until_quiet(state)
    before = uid_of(pod(state, "web-0"))

    patch = {"status": {"phase": "Failed"}}
    state.patch(POD, "web-0", "default", patch, subresource="status")
    run_until_quiet(state)

    assert uid_of(pod(state, "web-0")) != before


def test_a_pod_on_a_silent_node_is_replaced_only_when_its_object_is_gone():
    """The old one may still run: two pods of one name would share one fixed address."""
    clock = Clock()
    state = cluster(clock, replicas=1)
    run_until_quiet(state)
    before = pod(state, "web-0")

    clock.move(41)
    settle(state)
    clock.move(301)
    settle(state)
    clock.move(3600)
    settle(state)
    assert is_terminating(pod(state, "web-0"))
    assert uid_of(pod(state, "web-0")) == uid_of(before)

    state.delete(POD, "web-0", "default", DeleteOptions(grace_s=0))
    settle(state)
    assert uid_of(pod(state, "web-0")) != uid_of(before)


def test_a_pod_on_a_deleted_node_is_replaced_elsewhere():
    clock = Clock()
    state = cluster(clock, replicas=1)
    run_until_quiet(state)
    lost = pod(state, "web-0")["spec"]["nodeName"]

    state.delete(NODE, lost)
    clock.move(61)
    for name in ("n1", "n2", "n3"):
        if name != lost:
            state.delete(NODE, name)
            add_node(state, name)
    run_until_quiet(state)

    assert pod(state, "web-0")["spec"]["nodeName"] not in ("", lost)


def test_deleting_the_set_takes_its_pods():
    state = cluster()
    run_until_quiet(state)

    state.delete(STATEFUL_SET, "web", "default")
    run_until_quiet(state)

    assert pods(state) == []
    assert state.list(CONTROLLER_REVISION) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"volumeClaimTemplates": [{"metadata": {"name": "d"}}]},
            "volumeClaimTemplates: Forbidden",
        ),
        ({"podManagementPolicy": "Chaos"}, "must be 'OrderedReady' or 'Parallel'"),
        ({"updateStrategy": {"type": "Recreate"}}, "must be 'RollingUpdate' or 'OnDelete'"),
        (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            "only allowed for updateStrategy 'RollingUpdate'",
        ),
        ({"replicas": -1}, "must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(spec, message):
    with pytest.raises(ApiError, match=message):
        make_cluster().create(STATEFUL_SET, manifest(**spec))


def test_only_some_fields_can_be_changed():
    state = cluster()

    with pytest.raises(ApiError, match="updates to statefulset spec for fields other than"):
        change(state, {"spec": {"serviceName": "other"}})
    change(state, {"spec": {"minReadySeconds": 5}})
