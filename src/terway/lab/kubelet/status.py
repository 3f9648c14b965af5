"""Which PodStatus describes a pod? Pure: views of its containers in, the API's object out.

Source: kubelet getPhase and status.GeneratePodReadyCondition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from terway.kube.clock import format_time
from terway.lab.kubelet.podspec import Pod
from terway.lab.kubelet.state import ContainerView, Running, Terminated, Waiting

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """What the kubelet knows of a pod."""

    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...] = ()
    has_sandbox: bool = False
    started_at: float = 0.0
    init: tuple[ContainerView, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    gates: tuple[tuple[str, str], ...] = ()  # conditions others set, and their status
    refused: tuple[str, str] | None = None  # reason and message of a pod that is not run at all


def phase_of(pod: Pod, view: PodView) -> str:
    """Return Pending, Running, Succeeded or Failed."""
    if view.refused:
        return "Failed"
    policy = pod.spec.restart_policy
    if any(_has_failed(one, policy) for one in view.init):
        return "Failed"
    if not all(_has_succeeded(one) for one in view.init):
        return "Pending"
    states = [one.state for one in view.containers]
    ended = [state for state in states if isinstance(state, Terminated)]
    if len(ended) == len(states) and policy != "Always":
        if all(state.exit_code == 0 for state in ended):
            return "Succeeded"
        return "Failed" if policy == "Never" else "Running"
    has_run = any(one.last or not isinstance(one.state, Waiting) for one in view.containers)
    return "Running" if has_run else "Pending"


def pod_status(pod: Pod, view: PodView, *, now: float) -> Json:
    """Return the status. `now` is seconds since the epoch; times of old conditions are kept."""
    phase = phase_of(pod, view)
    status: Json = {
        "phase": phase,
        "conditions": _conditions(pod, view, phase, now),
        "hostIP": next(iter(view.host_ips), None),
        "hostIPs": [{"ip": address} for address in view.host_ips],
        "startTime": format_time(view.started_at or now),
        "containerStatuses": [container_status(one) for one in view.containers],
    }
    if view.init:
        status["initContainerStatuses"] = [container_status(one) for one in view.init]
    if view.pod_ips:
        status["podIP"] = view.pod_ips[0]
        status["podIPs"] = [{"ip": address} for address in view.pod_ips]
    if view.refused:
        status["reason"], status["message"] = view.refused
    return status


def status_patch(status: Json) -> Json:
    """Return the strategic merge patch that makes `status` the pod's, but for others' conditions.

    Conditions merge by their type, so that a load balancer's gate stays; addresses would merge,
    too, and are replaced as a whole.
    """
    replaced = {
        name: [*status[name], {"$patch": "replace"}]
        for name in ("podIPs", "hostIPs")
        if name in status
    }
    # A condition that has no reason any more would keep the old one: null takes it away.
    nothing = {"reason": None, "message": None}
    conditions = [{**nothing, **one} for one in status["conditions"]]
    return {"status": {**status, **replaced, "conditions": conditions}}


def container_status(view: ContainerView) -> Json:
    """Return a ContainerStatus."""
    status: Json = {
        "name": view.name,
        "image": view.image,
        "imageID": "",
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": _state(view.state, view.container_id),
        "lastState": _state(view.last, "") if view.last else {},
    }
    if view.container_id:
        status["containerID"] = view.container_id
    return status


def _state(state: Waiting | Running | Terminated, container_id: str) -> Json:
    match state:
        case Waiting(reason=reason, message=message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started_at=started_at):
            return {"running": {"startedAt": format_time(started_at)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    "message": state.message,
                    "startedAt": format_time(state.started_at),
                    "finishedAt": format_time(state.finished_at),
                    "containerID": state.container_id or container_id,
                }
            }


def _conditions(pod: Pod, view: PodView, phase: str, now: float) -> list[Json]:
    done = phase == "Succeeded"
    initialized = all(_has_succeeded(one) for one in view.init)
    unready = [one.name for one in view.containers if not one.ready]
    why = _why_unready(unready, done=done, refused=view.refused)
    why_gated = why if why[0] else _why_gated(view.gates)
    wanted = (
        ("PodReadyToStartContainers", view.has_sandbox, "", ""),
        ("Initialized", initialized, "" if initialized else "ContainersNotInitialized", ""),
        ("Ready", not why_gated[0], *why_gated),
        ("ContainersReady", not why[0], *why),
        ("PodScheduled", True, "", ""),
    )
    return [_condition(pod, *one, now=now) for one in wanted]


def _why_unready(
    unready: Sequence[str], *, done: bool, refused: tuple[str, str] | None
) -> tuple[str, str]:
    if done:
        return "PodCompleted", ""
    if refused:
        return refused
    if unready:
        return "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "", ""


def _why_gated(gates: Sequence[tuple[str, str]]) -> tuple[str, str]:
    messages = [
        f'the status of pod readiness gate "{type_}" is not "True", but {status}'
        if status
        else f'corresponding condition of pod readiness gate "{type_}" does not exist.'
        for type_, status in gates
        if status != "True"
    ]
    return ("ReadinessGatesNotReady", ", ".join(messages)) if messages else ("", "")


def _condition(pod: Pod, kind: str, ok: bool, reason: str, message: str, *, now: float) -> Json:
    word = "True" if ok else "False"
    old = next((one for one in pod.status.conditions if one.type == kind), None)
    since = old.last_transition_time if old is not None and old.status == word else None
    condition: Json = {
        "type": kind,
        "status": word,
        "lastProbeTime": None,
        "lastTransitionTime": since or format_time(now),
    }
    if reason:
        condition |= {"reason": reason, "message": message}
    return condition


def _has_succeeded(view: ContainerView) -> bool:
    return isinstance(view.state, Terminated) and view.state.exit_code == 0


def _has_failed(view: ContainerView, policy: str) -> bool:
    ended = isinstance(view.state, Terminated) and view.state.exit_code != 0
    return ended and policy == "Never"
