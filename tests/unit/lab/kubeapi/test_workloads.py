"""Deployments and DaemonSets keep what they promise at every step of the way."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.objects import (
    annotations_of,
    is_condition_true,
    is_pod_ready,
    is_terminating,
    labels_of,
    metadata,
    name_of,
    read_path,
    replace_in,
)
from terway.lab.kubeapi.resources import DAEMON_SET, DEPLOYMENT, NODE, POD, REPLICA_SET
from tests.support.cluster import Clock, deployment_manifest, make_cluster, pod_manifest
from tests.support.paper_kubelet import (
    add_node,
    confirm_end,
    make_ready,
    report,
    run_until_quiet,
)


def cluster(*nodes: str):
    state = make_cluster()
    for name in nodes or ("n1", "n2", "n3"):
        add_node(state, name)
    return state


def images(state):
    return sorted(read_path(pod, "spec.containers")[0]["image"] for pod in state.list(POD))


def set_image(state, image: str) -> None:
    template = replace_in(
        deployment_manifest()["spec"]["template"],
        "spec.containers",
        [{"name": "c", "image": image}],
    )
    state.patch(DEPLOYMENT, "web", "default", {"spec": {"template": template}})


def with_strategy(replicas: int, **rolling: object):
    manifest = deployment_manifest(replicas=replicas)
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return replace_in(manifest, "spec.strategy", strategy)


def test_a_deployment_gets_its_pods_and_says_so():
    state = cluster()

    state.create(DEPLOYMENT, deployment_manifest(replicas=3))
    run_until_quiet(state)

    deployment = state.get(DEPLOYMENT, "web", "default").object
    assert deployment["status"]["readyReplicas"] == 3
    assert is_condition_true(deployment, "Available")
    assert annotations_of(deployment) == {"deployment.kubernetes.io/revision": "1"}


@pytest.mark.parametrize(
    ("surge", "unavailable"), [(1, 0), (0, 1), ("25%", "25%"), ("100%", 0), (2, 2), (0, 0)]
)
def test_a_rolling_update_stays_within_its_limits_at_every_step(surge, unavailable):
    replicas = 4
    state = cluster()
    state.create(DEPLOYMENT, with_strategy(replicas, maxSurge=surge, maxUnavailable=unavailable))
    run_until_quiet(state)
    most = replicas + {"25%": 1, "100%": 4}.get(surge, surge)
    least = replicas - ({"25%": 1}.get(unavailable, unavailable) or (surge == 0))

    set_image(state, "new")
    for _ in range(50):
        settle(state)
        pods = [pod for pod in state.list(POD) if not is_terminating(pod)]
        assert len(pods) <= most
        assert sum(map(is_pod_ready, pods)) >= least
        if not step_one_pod(state):
            break

    assert images(state) == ["new"] * replicas


def step_one_pod(state) -> bool:
    """Let one pod's kubelet make one step: as slow as it gets."""
    for pod in state.list(POD):
        if is_terminating(pod):
            confirm_end(state, pod)
            return True
        if read_path(pod, "spec.nodeName") and not is_pod_ready(pod):
            make_ready(state, pod)
            return True
    return False


def test_an_update_to_an_image_that_never_starts_leaves_enough_serving():
    state = cluster()
    state.create(DEPLOYMENT, with_strategy(4, maxSurge=1, maxUnavailable=1))
    run_until_quiet(state)

    set_image(state, "broken")
    run_until_quiet(state)

    assert images(state).count("busybox") == 3
    deployment = state.get(DEPLOYMENT, "web", "default").object
    assert is_condition_true(deployment, "Available")
    assert deployment["status"]["unavailableReplicas"] == 1


def test_a_broken_update_can_be_taken_back():
    state = cluster()
    state.create(DEPLOYMENT, deployment_manifest(replicas=3))
    run_until_quiet(state)
    set_image(state, "broken")
    run_until_quiet(state)

    set_image(state, "busybox")
    run_until_quiet(state)

    assert images(state) == ["busybox"] * 3
    deployment = state.get(DEPLOYMENT, "web", "default").object
    assert annotations_of(deployment)["deployment.kubernetes.io/revision"] == "3"
    assert len(state.list(REPLICA_SET)) == 2


def test_a_rollout_that_does_not_progress_is_reported_after_its_deadline():
    clock = Clock()
    state = make_cluster(clock)
    manifest = replace_in(deployment_manifest(image="broken"), "spec.progressDeadlineSeconds", 60)
    state.create(DEPLOYMENT, manifest)
    run_until_quiet(state)

    clock.move(61)
    settle(state)

    conditions = state.get(DEPLOYMENT, "web", "default").object["status"]["conditions"]
    reasons = {one["type"]: one["reason"] for one in conditions}
    assert reasons["Progressing"] == "ProgressDeadlineExceeded"


def test_recreate_starts_the_new_pods_when_the_old_are_gone():
    state = cluster()
    manifest = replace_in(deployment_manifest(), "spec.strategy", {"type": "Recreate"})
    state.create(DEPLOYMENT, manifest)
    run_until_quiet(state)

    set_image(state, "new")
    settle(state)
    assert images(state) == ["busybox"] * 3
    run_until_quiet(state)

    assert images(state) == ["new"] * 3


def test_scaling_down_takes_the_pods_that_do_not_serve_first():
    state = cluster()
    state.create(DEPLOYMENT, deployment_manifest(replicas=2))
    run_until_quiet(state)
    serving = {name_of(pod) for pod in state.list(POD)}
    state.patch(DEPLOYMENT, "web", "default", {"spec": {"replicas": 4}})
    settle(state)

    state.patch(DEPLOYMENT, "web", "default", {"spec": {"replicas": 2}})
    run_until_quiet(state)

    assert {name_of(pod) for pod in state.list(POD)} == serving


def test_a_failed_pod_is_replaced():
    state = cluster()
    state.create(DEPLOYMENT, deployment_manifest(replicas=1))
    run_until_quiet(state)
    failed = name_of(state.list(POD)[0])

    state.patch(POD, failed, "default", {"status": {"phase": "Failed"}}, subresource="status")
    run_until_quiet(state)

    assert sum(map(is_pod_ready, state.list(POD))) >= 1
    assert len(state.list(POD)) == 2


def test_a_pod_relabelled_out_of_its_set_is_let_go_and_replaced():
    state = cluster()
    state.create(DEPLOYMENT, deployment_manifest(replicas=1))
    run_until_quiet(state)
    name = name_of(state.list(POD)[0])

    state.patch(POD, name, "default", {"metadata": {"labels": {"app": "debug"}}})
    run_until_quiet(state)

    assert len(state.list(POD)) == 2
    assert "ownerReferences" not in metadata(state.get(POD, name, "default").object)


def daemon_set(**spec: object):
    manifest = replace_in(deployment_manifest("agent"), "spec.replicas", None)
    return {**manifest, "spec": {**manifest["spec"], **spec}}


def nodes_with_a_pod(state):
    return sorted(read_path(pod, "spec.nodeName", "") for pod in state.list(POD))


def test_a_daemon_set_has_a_pod_on_each_node_that_comes_later_ones_too():
    state = cluster("n1", "n2")
    state.create(DAEMON_SET, daemon_set())
    run_until_quiet(state)

    add_node(state, "n3")
    run_until_quiet(state)

    assert nodes_with_a_pod(state) == ["n1", "n2", "n3"]
    status = state.get(DAEMON_SET, "agent", "default").object["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)


def test_a_daemon_set_keeps_to_the_nodes_it_selects():
    state = make_cluster()
    add_node(state, "n1", disk="ssd")
    add_node(state, "n2")
    manifest = replace_in(daemon_set(), "spec.template.spec.nodeSelector", {"disk": "ssd"})

    state.create(DAEMON_SET, manifest)
    run_until_quiet(state)
    first = nodes_with_a_pod(state)
    state.patch(NODE, "n1", "", {"metadata": {"labels": {"disk": "hdd"}}})
    run_until_quiet(state)

    assert (first, nodes_with_a_pod(state)) == (["n1"], [])


def test_a_daemon_set_is_updated_one_node_at_a_time():
    state = cluster()
    state.create(DAEMON_SET, daemon_set())
    run_until_quiet(state)

    patch = {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}
    state.patch(DAEMON_SET, "agent", "default", patch)
    while True:
        settle(state)
        ready = [pod for pod in state.list(POD) if is_pod_ready(pod)]
        assert len(ready) >= 2
        if not report(state):
            break

    assert [labels_of(pod).get("v") for pod in state.list(POD)] == ["2"] * 3


def test_a_lone_pod_is_not_anybodys():
    state = cluster()
    state.create(POD, pod_manifest(app="something"))
    state.create(DEPLOYMENT, deployment_manifest(replicas=1))

    run_until_quiet(state)

    assert "ownerReferences" not in metadata(state.get(POD, "a", "default").object)
