"""On which node does a pod run? The one with the fewest pods of those that may.

Source for the words of refusal: k8s.io/kubernetes pkg/scheduler/framework (FitError and the
plugins), v1.32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from terway.lab.kubeapi.controllers.actions import Action, Bind, Patch, Tell
from terway.lab.kubeapi.controllers.placement import (
    is_cordoned,
    lacking_resources,
    matches_affinity,
    repelled_by,
    requests_of,
    untolerated_taint,
)
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.gates import is_gated
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a pod cannot run on a node. `others_could_go`: it could, were other pods not there."""

    reasons: tuple[str, ...]
    others_could_go: bool = False


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

    def refusal(self, pod: Object, node: Object) -> Refusal | None:
        """Return why the pod cannot run on the node, None when it can."""
        if is_cordoned(pod, node):
            return Refusal(reasons=("node(s) were unschedulable",))
        if taint := untolerated_taint(pod, node):
            value = f": {taint['value']}" if taint.get("value") else ": "
            reason = f"node(s) had untolerated taint {{{taint.get('key', '')}{value}}}"
            return Refusal(reasons=(reason,))
        if not matches_affinity(pod, node):
            return Refusal(reasons=("node(s) didn't match Pod's node affinity/selector",))
        if lacking := lacking_resources(pod, node, self.used[name_of(node)]):
            reasons = tuple(
                "Too many pods" if name == "pods" else f"Insufficient {name}" for name in lacking
            )
            return Refusal(reasons=reasons, others_could_go=True)
        if repelled_by(pod, node, self.residents, self.nodes):
            reason = "node(s) didn't match pod anti-affinity rules"
            return Refusal(reasons=(reason,), others_could_go=True)
        return None


def is_waiting(pod: Object) -> bool:
    """Say whether the pod is ours to place."""
    return (
        not read_path(pod, "spec.nodeName")
        and not is_terminating(pod)
        and not is_pod_finished(pod)
        and not is_gated(pod)
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
        fitting = [name for name, why in refusals.items() if why is None]
        if not fitting:
            whys = [why for why in refusals.values() if why is not None]
            yield from _refuse(view, pod, fit_error(whys))
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


def fit_error(refusals: list[Refusal]) -> str:
    """Return why no node took the pod, one refusal a node, in the scheduler's words.

    Nobody is ever pre-empted here: all pods of a lab are of one priority, as far as it goes.
    """
    if not refusals:
        return "no nodes available to schedule pods"
    head = f"0/{len(refusals)} nodes are available"
    reasons = _counted(reason for refusal in refusals for reason in refusal.reasons)
    victims = _counted(
        "No preemption victims found for incoming pod"
        if refusal.others_could_go
        else "Preemption is not helpful for scheduling"
        for refusal in refusals
    )
    return f"{head}: {reasons}. preemption: {head}: {victims}."


def _counted(reasons: Iterable[str]) -> str:
    return ", ".join(sorted(f"{count} {why}" for why, count in Counter(reasons).items()))


def _refuse(view: View, pod: Object, message: str) -> Iterator[Action]:
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
