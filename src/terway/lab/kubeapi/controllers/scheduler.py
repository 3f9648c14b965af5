"""On which node does a pod run? Of those that may, one it prefers, with the fewest pods.

Source for the words of refusal: k8s.io/kubernetes pkg/scheduler/framework (FitError and the
plugins), v1.32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from terway.lab.kubeapi.controllers.actions import Action, Bind, Patch, Tell
from terway.lab.kubeapi.controllers.occupancy import Occupancy, Refusal
from terway.lab.kubeapi.controllers.placement import highest_preference, preference
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
        chosen, refusals = choose_node(occupancy, pod)
        if chosen is None:
            yield from _refuse(view, pod, fit_error(refusals))
            continue
        occupancy.add(pod, chosen)
        yield Bind(pod=pod, node=chosen)
        message = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {chosen}"
        yield Tell(resource=POD, object=pod, reason="Scheduled", message=message, component=_NAME)


def choose_node(occupancy: Occupancy, pod: Object) -> tuple[str | None, list[Refusal]]:
    """Return the node that a pod prefers, the least loaded of equals; without one, why not."""
    refusals: list[Refusal] = []
    best, best_score = None, -1
    highest = highest_preference(pod)
    for name, node in occupancy.candidates():
        if (refusal := occupancy.refusal(pod, node)) is not None:
            refusals.append(refusal)
        elif (score := preference(pod, node)) > best_score:
            best, best_score = name, score
            if score == highest:
                break  # of thousands of nodes, most need not be asked
    return best, refusals


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
