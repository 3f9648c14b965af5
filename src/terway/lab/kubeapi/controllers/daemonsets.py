"""Which nodes need a pod of a DaemonSet, and which of its pods must be replaced?

Source: k8s.io/kubernetes pkg/controller/daemon (daemon_controller.go, update.go), v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terway.lab.kubeapi.controllers.actions import Action, Create, Delete, Tell, status_patch
from terway.lab.kubeapi.controllers.placement import matches_affinity, untolerated_taint
from terway.lab.kubeapi.controllers.view import View, age_order
from terway.lab.kubeapi.names import hash_of
from terway.lab.kubeapi.objects import (
    Object,
    is_pod_finished,
    is_pod_ready,
    is_terminating,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
)
from terway.lab.kubeapi.quantities import scaled_value
from terway.lab.kubeapi.resources import DAEMON_SET, POD

HASH_LABEL = "controller-revision-hash"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TOLERATED = (("node.kubernetes.io/network-unavailable", "NoSchedule"),)


def plan_daemon_sets(view: View) -> Iterator[Action]:
    """Yield what gives each fitting node one up-to-date pod, and the status."""
    for daemon_set in view.all(DAEMON_SET):
        if is_terminating(daemon_set):
            continue
        pods = _by_node(view, daemon_set)
        fitting = [name_of(node) for node in view.nodes if _fits(daemon_set, node)]
        yield from _plan_presence(daemon_set, pods, fitting)
        yield from _plan_update(view, daemon_set, pods, fitting)
        yield from _plan_status(view, daemon_set, pods, fitting)


def template_hash(daemon_set: Object) -> str:
    """Return the label value that tells the pods of one template from those of another."""
    return hash_of(read_path(daemon_set, "spec.template", {}))


def new_pod(daemon_set: Object, node: str) -> Object:
    """Return the DaemonSet's pod for a node; the scheduler can place it nowhere else."""
    template = read_path(daemon_set, "spec.template", {})
    spec: dict[str, Any] = dict(template.get("spec") or {})
    tolerated = _TOLERATED + (_HOST_NETWORK_TOLERATED if spec.get("hostNetwork") else ())
    spec["tolerations"] = [
        *(spec.get("tolerations") or ()),
        *({"key": key, "operator": "Exists", "effect": effect} for key, effect in tolerated),
    ]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    spec["affinity"] = {**(spec.get("affinity") or {}), "nodeAffinity": required}
    held = template.get("metadata") or {}
    meta = {
        **held,
        "labels": {**(held.get("labels") or {}), HASH_LABEL: template_hash(daemon_set)},
        "generateName": f"{name_of(daemon_set)}-",
        "namespace": namespace_of(daemon_set),
        "ownerReferences": [owner_reference(daemon_set, api_version="apps/v1", kind="DaemonSet")],
    }
    return {"metadata": meta, "spec": spec}


def target_node(pod: Object) -> str:
    """Return the node that a DaemonSet's pod runs on or is meant for."""
    if node := read_path(pod, "spec.nodeName"):
        return str(node)
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    for term in read_path(pod, f"{path}.nodeSelectorTerms", ()):
        for field in term.get("matchFields") or ():
            return str((field.get("values") or [""])[0])
    return ""


def _by_node(view: View, daemon_set: Object) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in sorted(view.pods_of(daemon_set), key=age_order):
        found.setdefault(target_node(pod), []).append(pod)
    return found


def _fits(daemon_set: Object, node: Object) -> bool:
    # The node affinity of a pod made for the node holds by construction; the template's counts.
    pod = new_pod(daemon_set, name_of(node))
    template = {"spec": read_path(daemon_set, "spec.template.spec", {})}
    return matches_affinity(template, node) and untolerated_taint(pod, node) is None


def _plan_presence(
    daemon_set: Object, pods: dict[str, list[Object]], fitting: list[str]
) -> Iterator[Action]:
    for node in fitting:
        if not pods.get(node):
            told = Tell(
                resource=DAEMON_SET,
                object=daemon_set,
                reason="SuccessfulCreate",
                message="Created pod: {name}",
                component="daemonset-controller",
            )
            yield Create(resource=POD, object=new_pod(daemon_set, node), tell=told)
    for node, held in pods.items():
        surplus = held[1:] if node in fitting else held
        finished = [pod for pod in held[:1] if is_pod_finished(pod)]
        for pod in [*surplus, *finished]:
            if not is_terminating(pod):
                yield Delete(resource=POD, object=pod)


def _plan_update(
    view: View, daemon_set: Object, pods: dict[str, list[Object]], fitting: list[str]
) -> Iterator[Action]:
    strategy = read_path(daemon_set, "spec.updateStrategy", {})
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    wanted = read_path(strategy, "rollingUpdate.maxUnavailable", 1)
    allowed = max(scaled_value(wanted, len(fitting), round_up=True), 1)
    hashed, min_ready_s = template_hash(daemon_set), _min_ready_s(daemon_set)
    current = [pods[node][0] for node in fitting if pods.get(node)]
    available = [pod for pod in current if view.is_available(pod, min_ready_s)]
    unavailable = len(fitting) - len(available)
    for pod in current:
        if labels_of(pod).get(HASH_LABEL) == hashed or is_terminating(pod):
            continue
        if pod not in available:
            yield Delete(resource=POD, object=pod)  # replacing it costs nothing
        elif unavailable < allowed:
            unavailable += 1
            yield Delete(resource=POD, object=pod)


def _min_ready_s(daemon_set: Object) -> int:
    return int(read_path(daemon_set, "spec.minReadySeconds", 0))


def _plan_status(
    view: View, daemon_set: Object, pods: dict[str, list[Object]], fitting: list[str]
) -> Iterator[Action]:
    hashed, min_ready_s = template_hash(daemon_set), _min_ready_s(daemon_set)
    current = [
        pods[node][0] for node in fitting if pods.get(node) and not is_terminating(pods[node][0])
    ]
    available = sum(view.is_available(pod, min_ready_s) for pod in current)
    status = {
        "currentNumberScheduled": len(current),
        "desiredNumberScheduled": len(fitting),
        "numberMisscheduled": sum(bool(held) for node, held in pods.items() if node not in fitting),
        "numberReady": sum(map(is_pod_ready, current)),
        "updatedNumberScheduled": sum(labels_of(pod).get(HASH_LABEL) == hashed for pod in current),
        "numberAvailable": available,
        "numberUnavailable": len(fitting) - available,
        "observedGeneration": metadata(daemon_set).get("generation", 1),
    }
    if daemon_set.get("status") != status:
        yield status_patch(DAEMON_SET, daemon_set, status)
