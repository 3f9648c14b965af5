"""Which pods run where, and what happens when a node is lost."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import condition_of, read_path, replace_in
from terway.lab.kubeapi.resources import EVENT, NODE, POD
from terway.lab.kubeapi.state import STRATEGIC
from terway.lab.kubeapi.subresources import bind
from terway.lab.kubeapi.writes import WriteOptions
from terway.lab.kubelet.node_status import status_patch
from tests.support.cluster import Clock, make_cluster, pod_manifest
from tests.support.paper_kubelet import add_node, beat, run_until_quiet


def node_of(state, name="a"):
    return read_path(state.get(POD, name, "default").object, "spec.nodeName")


def condition(obj, type_, field):
    held = condition_of(obj, type_)
    assert held is not None
    return held[field]


def why_not(state, name="a"):
    settle(state)
    assert node_of(state, name) is None
    return condition(state.get(POD, name, "default").object, "PodScheduled", "message")


def test_pods_are_spread_over_the_nodes():
    state = make_cluster()
    for name in ("n1", "n2", "n3"):
        add_node(state, name)

    for index in range(6):
        state.create(POD, pod_manifest(f"p{index}"))
    settle(state)

    placed = [node_of(state, f"p{index}") for index in range(6)]
    assert [placed.count(name) for name in ("n1", "n2", "n3")] == [2, 2, 2]


def test_a_pod_goes_where_its_selector_says():
    state = make_cluster()
    add_node(state, "n1")
    add_node(state, "n2", disk="ssd")

    state.create(POD, replace_in(pod_manifest(), "spec.nodeSelector", {"disk": "ssd"}))
    settle(state)

    assert node_of(state) == "n2"


def test_a_node_takes_no_more_pods_than_it_can():
    state = make_cluster()
    add_node(state, "n1", pods=1)
    state.create(POD, pod_manifest("first"))
    state.create(POD, pod_manifest("second"))

    assert why_not(state, "second") == (
        "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    assert node_of(state, "first") == "n1"


def test_a_pod_waits_until_there_is_room():
    state = make_cluster()
    add_node(state, "n1", pods=1)
    state.create(POD, pod_manifest("first"))
    state.create(POD, pod_manifest("second"))
    settle(state)

    state.delete(POD, "first", "default")
    run_until_quiet(state)

    assert node_of(state, "second") == "n1"


def asking(name="a", **amounts):
    resources = {"requests": amounts, "limits": amounts}
    containers = [{"name": "c", "image": "x", "resources": resources}]
    return replace_in(pod_manifest(name), "spec.containers", containers)


@pytest.mark.parametrize(
    ("amounts", "reasons"),
    [
        ({"cpu": "4001m"}, "1 Insufficient cpu"),
        ({"memory": "9Gi"}, "1 Insufficient memory"),
        ({"aliyun/eni": "1"}, "1 Insufficient aliyun/eni"),
        ({"cpu": "5", "memory": "9Gi"}, "1 Insufficient cpu, 1 Insufficient memory"),
    ],
)
def test_a_pod_that_asks_for_too_much_is_told_so(amounts, reasons):
    state = make_cluster()
    add_node(state, "n1")
    state.create(POD, asking(**amounts))

    message = why_not(state)
    assert message == (
        f"0/1 nodes are available: {reasons}. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    events = [one for one in state.list(EVENT) if one["reason"] == "FailedScheduling"]
    assert [one["message"] for one in events] == [message]


def test_an_extended_resource_is_counted_and_given_back():
    state = make_cluster()
    add_node(state, "n1")
    amounts = {"aliyun/member-eni": "1"}
    patch = {"status": {"capacity": amounts, "allocatable": amounts}}
    state.patch(NODE, "n1", "", patch, subresource="status")
    state.create(POD, asking("first", **amounts))
    state.create(POD, asking("second", **amounts))
    assert "1 Insufficient aliyun/member-eni" in why_not(state, "second")

    state.delete(POD, "first", "default")
    run_until_quiet(state)

    assert node_of(state, "second") == "n1"


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"requests": {"aliyun/eni": "1"}}, "Limit must be set for non overcommitable resources"),
        (
            {"requests": {"aliyun/eni": "1"}, "limits": {"aliyun/eni": "2"}},
            "must be equal to aliyun/eni limit of 2",
        ),
        ({"limits": {"aliyun/eni": "500m"}}, "must be an integer"),
        (
            {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            "must be less than or equal to cpu limit of 1",
        ),
    ],
)
def test_amounts_that_cannot_be_are_refused(resources, message):
    containers = [{"name": "c", "image": "x", "resources": resources}]

    with pytest.raises(ApiError, match=message):
        make_cluster().create(POD, replace_in(pod_manifest(), "spec.containers", containers))


def test_a_cordoned_node_gets_no_pods():
    state = make_cluster()
    add_node(state, "n1")
    state.patch(NODE, "n1", "", {"spec": {"unschedulable": True}})
    state.create(POD, pod_manifest())

    assert why_not(state) == (
        "0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are "
        "available: 1 Preemption is not helpful for scheduling."
    )


def test_a_pod_goes_to_the_zone_that_its_affinity_requires():
    state = make_cluster()
    add_node(state, "n1", zone="zone-a")
    add_node(state, "n2", zone="zone-b")
    expression = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-b"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    state.create(POD, replace_in(pod_manifest(), path, terms))
    settle(state)
    assert node_of(state) == "n2"

    state.patch(NODE, "n2", "", {"metadata": {"labels": {"topology.kubernetes.io/zone": "c"}}})
    state.create(POD, replace_in(pod_manifest("late"), path, terms))
    assert "2 node(s) didn't match Pod's node affinity/selector" in why_not(state, "late")


def test_a_taint_keeps_pods_off_but_those_that_tolerate_it():
    state = make_cluster()
    add_node(state, "n1")
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    state.patch(NODE, "n1", "", {"spec": {"taints": [taint]}})
    state.create(POD, pod_manifest("plain"))
    tolerations = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    state.create(POD, replace_in(pod_manifest("special"), "spec.tolerations", tolerations))

    assert "untolerated taint {gpu: yes}" in why_not(state, "plain")
    assert node_of(state, "special") == "n1"


def test_pods_that_repel_each_other_share_no_node():
    state = make_cluster()
    add_node(state, "n1")
    add_node(state, "n2")
    term = {
        "labelSelector": {"matchLabels": {"app": "db"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    path = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    for name in ("p1", "p2", "p3"):
        state.create(POD, replace_in(pod_manifest(name, app="db"), path, [term]))
    settle(state)

    assert {node_of(state, "p1"), node_of(state, "p2")} == {"n1", "n2"}
    assert "anti-affinity" in why_not(state, "p3")


def test_a_pod_is_bound_once():
    state = make_cluster()
    state.create(POD, pod_manifest())
    bind(state, "a", "default", "n1", options=WriteOptions())

    with pytest.raises(ApiError, match='already assigned to node "n1"'):
        bind(state, "a", "default", "n2", options=WriteOptions())


def test_a_silent_node_is_marked_and_its_pods_leave_after_their_time():
    clock = Clock()
    state = make_cluster(clock)
    add_node(state, "n1")
    state.create(POD, pod_manifest())
    run_until_quiet(state)

    clock.move(41)
    settle(state)
    node = state.get(NODE, "n1").object
    assert condition(node, "Ready", "status") == "Unknown"
    assert {taint["effect"] for taint in node["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    pod = state.get(POD, "a", "default").object
    assert condition(pod, "Ready", "status") == "False"  # no Service sends it anything

    clock.move(301)
    run_until_quiet(state)
    assert state.find(POD, "a", "default") is None


def test_a_node_that_comes_back_is_used_again():
    clock = Clock()
    state = make_cluster(clock)
    add_node(state, "n1")
    clock.move(41)
    settle(state)

    beat(state, "n1")
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": state.now_text()}
    state.patch(NODE, "n1", "", {"status": {"conditions": [ready]}}, subresource="status")
    state.create(POD, pod_manifest())
    settle(state)

    assert read_path(state.get(NODE, "n1").object, "spec.taints", []) == []
    assert node_of(state) == "n1"


def test_heartbeats_keep_a_node_alive():
    clock = Clock()
    state = make_cluster(clock)
    add_node(state, "n1")

    for _ in range(10):
        clock.move(30)
        beat(state, "n1")
        settle(state)

    assert condition(state.get(NODE, "n1").object, "Ready", "status") == "True"


def preferring(name, zone):
    expression = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
    term = {"weight": 100, "preference": {"matchExpressions": [expression]}}
    path = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
    return replace_in(pod_manifest(name), path, [term])


def test_a_pod_goes_where_it_prefers_while_there_is_room_and_elsewhere_then():
    state = make_cluster()
    add_node(state, "n1", zone="zone-a")
    add_node(state, "n2", pods=2, zone="zone-b")

    for index in range(3):
        state.create(POD, preferring(f"p{index}", "zone-b"))
        settle(state)

    assert [node_of(state, f"p{index}") for index in range(3)] == ["n2", "n2", "n1"]


def test_a_lost_nodes_pods_go_at_once_when_somebody_vouches_that_it_is_off():
    clock = Clock()
    state = make_cluster(clock)
    add_node(state, "n1")
    state.create(POD, pod_manifest())
    run_until_quiet(state)
    clock.move(41)
    settle(state)
    state.delete(POD, "a", "default")
    settle(state)
    assert state.find(POD, "a", "default")

    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
    taints = state.get(NODE, "n1").object["spec"]["taints"]
    state.patch(NODE, "n1", "", {"spec": {"taints": [*taints, taint]}})
    settle(state)

    assert state.find(POD, "a", "default") is None


def test_what_others_say_that_a_node_has_outlives_the_kubelets_reports():
    state = make_cluster()
    add_node(state, "n1")
    enis = {"aliyun/member-eni": "5", "aliyun/eni": "2"}
    condition_ = {"type": "SufficientIP", "status": "True"}
    patch = {"status": {"capacity": enis, "allocatable": enis, "conditions": [condition_]}}
    state.patch(NODE, "n1", "", patch, kind=STRATEGIC, subresource="status")

    amounts = {"cpu": "8", "pods": "20"}
    addresses = [{"type": "InternalIP", "address": "192.168.0.1"}]
    conditions = [{"type": "Ready", "status": "True"}]
    report = {
        "capacity": amounts,
        "allocatable": amounts,
        "addresses": addresses,
        "conditions": conditions,
    }
    state.patch(NODE, "n1", "", status_patch(report), kind=STRATEGIC, subresource="status")

    status = state.get(NODE, "n1").object["status"]
    assert status["allocatable"] == {**enis, "cpu": "8", "memory": "8Gi", "pods": "20"}
    assert {one["type"] for one in status["conditions"]} == {"Ready", "SufficientIP"}


def test_pods_of_a_node_that_was_removed_are_removed():
    clock = Clock()
    state = make_cluster(clock)
    add_node(state, "n1")
    state.create(POD, pod_manifest())
    run_until_quiet(state)

    state.delete(NODE, "n1")
    clock.move(61)
    settle(state)

    assert state.find(POD, "a", "default") is None
