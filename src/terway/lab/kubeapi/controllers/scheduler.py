"""On which node does a pod run? The one with the fewest pods of those that may.

Source for the words of refusal: k8s.io/kubernetes pkg/scheduler/framework, v1.32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from terway.lab.kubeapi.controllers.actions import Action, Bind, Patch, Tell
from terway.lab.kubeapi.controllers.placement import (
    lacking_resource,
    matches_affinity,
    repelled_by,
    requests_of,
    untolerated_taint,
)
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    is_pod_finished,
    is_terminating,
    metadata,
    name_of,
    namespace_of,
    read_path,
    with_condition,
)
from terway.lab.kubeapi.resources import POD

_NAME = "default-scheduler"


class Occupancy:
    """Who runs where, and what is used: the view, and what this plan has decided already."""

    def __init__(self, view: View) -> None:
        self.nodes = {name_of(node): node for node in view.nodes}
        self.residents: dict[str, list[Object]] = {name: [] for name in self.nodes}
        self.used: dict[str, dict[str, Decimal]] = {name: {} for name in self.nodes}
        for pod in view.pods:
            if not is_pod_finished(pod):
                self.add(pod, read_path(pod, "spec.nodeName", ""))

    def add(self, pod: Object, node: str) -> None:
        """Count a pod to a node."""
        if node not in self.nodes:
            return
        self.residents[node].append(pod)
        for name, amount in requests_of(pod).items():
            self.used[node][name] = self.used[node].get(name, Decimal(0)) + amount

    def refusal(self, pod: Object, node: Object) -> str:
        """Return why the pod cannot run on the node, empty when it can."""
        if taint := untolerated_taint(pod, node):
            value = f": {taint['value']}" if taint.get("value") else ": "
            return f"node(s) had untolerated taint {{{taint.get('key', '')}{value}}}"
        if not matches_affinity(pod, node):
            return "node(s) didn't match Pod's node affinity/selector"
        if name := lacking_resource(pod, node, self.used[name_of(node)]):
            return "Too many pods" if name == "pods" else f"Insufficient {name}"
        if repelled_by(pod, node, self.residents, self.nodes):
            return "node(s) didn't match pod anti-affinity rules"
        return ""


def is_waiting(pod: Object) -> bool:
    """Say whether the pod is ours to place."""
    return (
        not read_path(pod, "spec.nodeName")
        and not is_terminating(pod)
        and not is_pod_finished(pod)
        and not read_path(pod, "spec.schedulingGates", [])
        and read_path(pod, "spec.schedulerName", _NAME) == _NAME
    )


def plan_bindings(view: View) -> Iterator[Action]:
    """Yield a binding for each pod that waits, the longest waiting first, or say why not."""
    waiting = sorted(filter(is_waiting, view.pods), key=_queue_order)
    if not waiting:
        return
    occupancy = Occupancy(view)
    for pod in waiting:
        refusals = {name: occupancy.refusal(pod, node) for name, node in occupancy.nodes.items()}
        fitting = [name for name, why in refusals.items() if not why]
        if not fitting:
            yield from _refuse(view, pod, refusals)
            continue
        chosen = min(fitting, key=lambda name: (len(occupancy.residents[name]), name))
        occupancy.add(pod, chosen)
        yield Bind(pod=pod, node=chosen)
        message = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {chosen}"
        yield Tell(resource=POD, object=pod, reason="Scheduled", message=message, component=_NAME)


def _queue_order(pod: Object) -> tuple[int, str, str, str]:
    return (
        -int(read_path(pod, "spec.priority", 0)),
        str(metadata(pod).get("creationTimestamp", "")),
        namespace_of(pod),
        name_of(pod),
    )


def _refuse(view: View, pod: Object, refusals: dict[str, str]) -> Iterator[Action]:
    counts = Counter(refusals.values())
    reasons = ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))
    message = f"0/{len(refusals)} nodes are available: {reasons}."
    if not refusals:
        message = "no nodes available to schedule pods"
    held = condition_of(pod, "PodScheduled") or {}
    if held.get("message") == message:
        return  # said already
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }
    conditions = with_condition(
        read_path(pod, "status.conditions", []), unschedulable, now=view.now_text
    )
    patch = {"status": {"conditions": conditions}}
    yield Patch(resource=POD, object=pod, patch=patch, subresource="status")
    yield Tell(
        resource=POD,
        object=pod,
        type="Warning",
        reason="FailedScheduling",
        message=message,
        component=_NAME,
    )
