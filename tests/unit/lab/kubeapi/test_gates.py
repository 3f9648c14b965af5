"""A gate holds a pod back until who set it lets it go: from a node, or from readiness."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import (
    condition_of,
    is_condition_true,
    is_pod_ready,
    read_path,
    replace_in,
)
from terway.lab.kubeapi.podstatus import pod_readiness_gates, pod_status
from terway.lab.kubeapi.resources import DEPLOYMENT, POD
from terway.lab.kubeapi.state import STRATEGIC
from terway.lab.kubeapi.subresources import bind
from terway.lab.kubeapi.writes import WriteOptions
from terway.lab.kubelet.status import status_patch
from tests.support.cluster import deployment_manifest, make_cluster, pod_manifest
from tests.support.paper_kubelet import add_node, run_until_quiet

GATES = [{"name": "k8s.aliyun.com/eni"}, {"name": "example.com/other"}]
REQUIRED = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"


def gated(**spec):
    pod = pod_manifest()
    return {**pod, "spec": {**pod["spec"], "schedulingGates": GATES, **spec}}


def cluster():
    state = make_cluster()
    add_node(state, "n1", zone="zone-a")
    return state


def change(state, spec):
    state.patch(POD, "a", "default", {"spec": spec})


def held(state):
    return state.get(POD, "a", "default").object


def test_a_gated_pod_is_not_placed_until_its_last_gate_is_gone():
    state = cluster()
    state.create(POD, gated())
    settle(state)
    condition = condition_of(held(state), "PodScheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "SchedulingGated")
    assert pod_status(held(state)) == "SchedulingGated"

    change(state, {"schedulingGates": GATES[1:]})
    settle(state)
    assert "nodeName" not in held(state)["spec"]

    change(state, {"schedulingGates": None})
    settle(state)
    assert held(state)["spec"]["nodeName"] == "n1"
    assert is_condition_true(held(state), "PodScheduled")
    assert pod_status(held(state)) == "Pending"


def test_a_gated_pod_cannot_be_bound():
    state = cluster()
    state.create(POD, gated())

    with pytest.raises(ApiError, match=r"pod a has non-empty \.spec\.schedulingGates"):
        bind(state, "a", "default", "n1", options=WriteOptions())


def test_a_gate_can_be_removed_and_none_added():
    state = cluster()
    state.create(POD, gated())

    with pytest.raises(ApiError, match="only deletion is allowed, but found new scheduling gate"):
        change(state, {"schedulingGates": [*GATES, {"name": "late"}]})
    change(state, {"schedulingGates": []})
    with pytest.raises(ApiError, match=r"found new scheduling gate 'k8s\.aliyun\.com/eni'"):
        change(state, {"schedulingGates": GATES[:1]})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"nodeName": "n1"}, "cannot be set until all schedulingGates have been cleared"),
        ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, 'Duplicate value: "a"'),
        ({"schedulingGates": [{"name": "-"}]}, "Invalid value"),
        ({"readinessGates": [{"conditionType": "a b"}]}, "readinessGates"),
    ],
)
def test_gates_that_cannot_be_are_refused(spec, message):
    with pytest.raises(ApiError, match=message):
        cluster().create(POD, gated(**spec))


def zone(*values):
    return {"key": "topology.kubernetes.io/zone", "operator": "In", "values": list(values)}


def terms(*expressions):
    return {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}


def test_a_gated_pod_may_be_narrowed_to_a_zone_and_no_other_pod_may():
    state = cluster()
    state.create(POD, gated(nodeSelector={"disk": "ssd"}))
    narrowed = replace_in(held(state), REQUIRED, terms(zone("zone-a")))
    state.update(POD, "a", "default", narrowed)
    change(state, {"nodeSelector": {"disk": "ssd", "more": "yes"}})

    with pytest.raises(ApiError, match=r"only additions to spec\.nodeSelector are allowed"):
        change(state, {"nodeSelector": {"disk": "hdd"}})
    with pytest.raises(ApiError, match="only additions are allowed"):
        state.update(POD, "a", "default", replace_in(held(state), REQUIRED, terms(zone("zone-b"))))
    with pytest.raises(ApiError, match="no additions/deletions to non-empty NodeSelectorTerms"):
        state.update(
            POD, "a", "default", replace_in(held(state), REQUIRED, {"nodeSelectorTerms": []})
        )
    with pytest.raises(ApiError, match="pod updates may not change fields"):
        change(state, {"hostNetwork": True})

    change(state, {"schedulingGates": None})
    with pytest.raises(ApiError, match="pod updates may not change fields"):
        change(state, {"nodeSelector": {"disk": "ssd", "more": "yes", "still": "more"}})


def open_gate(state, name, status="True"):
    patch = {"status": {"conditions": [{"type": "lb", "status": status}]}}
    state.patch(POD, name, "default", patch, kind=STRATEGIC, subresource="status")


def test_a_pod_is_ready_only_when_its_gate_is_open_and_the_kubelet_keeps_the_gate():
    state = cluster()
    state.create(POD, replace_in(pod_manifest(), "spec.readinessGates", [{"conditionType": "lb"}]))
    run_until_quiet(state)
    assert not is_pod_ready(held(state))
    assert pod_readiness_gates(held(state)) == "0/1"

    open_gate(state, "a")
    run_until_quiet(state)
    assert is_pod_ready(held(state))
    assert pod_readiness_gates(held(state)) == "1/1"

    open_gate(state, "a", "False")
    run_until_quiet(state)
    assert not is_pod_ready(held(state))


def test_a_status_of_the_kubelet_leaves_the_conditions_of_others():
    state = cluster()
    state.create(POD, pod_manifest())
    open_gate(state, "a")
    before = condition_of(held(state), "lb")

    for address in ("192.168.32.2", "192.168.32.3"):
        status = {
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "False"}],
        }
        patch = status_patch(status)
        state.patch(POD, "a", "default", patch, kind=STRATEGIC, subresource="status")

    assert condition_of(held(state), "lb") == before
    assert read_path(held(state), "status.podIPs") == [{"ip": "192.168.32.3"}]


def test_a_condition_that_holds_has_not_the_words_of_when_it_did_not():
    state = cluster()
    state.create(POD, pod_manifest())
    why = {"reason": "ContainersNotReady", "message": "containers with unready status: [c]"}
    for condition in ({"status": "False", **why}, {"status": "True"}):
        patch = status_patch({"conditions": [{"type": "Ready", **condition}]})
        state.patch(POD, "a", "default", patch, kind=STRATEGIC, subresource="status")

    assert condition_of(held(state), "Ready") == {"type": "Ready", "status": "True"}


def test_a_rolling_update_waits_for_the_gates_of_the_new_pods():
    state = cluster()
    deployment = deployment_manifest(replicas=2)
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    deployment = replace_in(deployment, "spec.strategy", strategy)
    gates = [{"conditionType": "lb"}]
    deployment = replace_in(deployment, "spec.template.spec.readinessGates", gates)
    state.create(DEPLOYMENT, deployment)
    run_until_quiet(state)
    old = {pod["metadata"]["name"] for pod in state.list(POD)}
    for name in old:
        open_gate(state, name)
    run_until_quiet(state)

    containers = [{"name": "c", "image": "new"}]
    template = replace_in(deployment["spec"]["template"], "spec.containers", containers)
    state.patch(DEPLOYMENT, "web", "default", {"spec": {"template": template}})
    run_until_quiet(state)
    names = {pod["metadata"]["name"] for pod in state.list(POD)}
    assert old < names  # one more, and it is not ready: nobody may go
    for _ in range(2):
        for name in {pod["metadata"]["name"] for pod in state.list(POD)} - old:
            open_gate(state, name)
        run_until_quiet(state)

    assert not old & {pod["metadata"]["name"] for pod in state.list(POD)}
