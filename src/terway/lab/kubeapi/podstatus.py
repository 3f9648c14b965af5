"""How is a pod, in one word? What kubectl shows under READY, STATUS and RESTARTS.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, printPod, v1.32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terway.kube.clock import parse_time
from terway.lab.kubeapi.gates import GATED, readiness_gates
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    is_condition_true,
    is_terminating,
    read_path,
)


def pod_ready(pod: Object) -> str:
    """Return ready containers and all containers: ``1/2``."""
    total = len(read_path(pod, "spec.containers", ()))
    ready = sum(bool(held.get("ready")) for held in _statuses(pod))
    return f"{ready}/{total}"


def pod_readiness_gates(pod: Object) -> str:
    """Return the conditions that readiness waits for: true ones and all, ``1/2``."""
    gates = readiness_gates(pod)
    return f"{sum(gates.values())}/{len(gates)}" if gates else "<none>"


def pod_restarts(pod: Object, now: float, duration: Callable[[float], str]) -> str:
    """Return the restarts of all containers, and how long ago the last one was."""
    held = _statuses(pod)
    count = sum(one.get("restartCount", 0) for one in held)
    ends = [read_path(one, "lastState.terminated.finishedAt") for one in held]
    times = [parse_time(end) for end in ends if end]
    return f"{count} ({duration(now - max(times))} ago)" if count and times else str(count)


def pod_status(pod: Object) -> str:
    """Return the reason that says most about the pod."""
    if is_terminating(pod):
        lost = read_path(pod, "status.reason") == "NodeLost"
        return "Unknown" if lost else "Terminating"
    return _init_status(pod) or _main_status(pod)


def _statuses(pod: Object, group: str = "containerStatuses") -> list[dict[str, Any]]:
    held: list[dict[str, Any]] = read_path(pod, f"status.{group}", [])
    return held


def _init_status(pod: Object) -> str:
    total = len(read_path(pod, "spec.initContainers", ()))
    for index, held in enumerate(_statuses(pod, "initContainerStatuses")):
        state = held.get("state") or {}
        ended = state.get("terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{_ended(ended)}"
        waiting = read_path(state, "waiting.reason", "")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def _main_status(pod: Object) -> str:
    scheduled = condition_of(pod, "PodScheduled") or {}
    if scheduled.get("reason") == GATED and scheduled.get("status") == "False":
        return GATED
    shown = str(read_path(pod, "status.reason") or read_path(pod, "status.phase", "Unknown"))
    is_running = False
    for held in reversed(_statuses(pod)):
        state = held.get("state") or {}
        if waiting := read_path(state, "waiting.reason"):
            shown = str(waiting)
        elif ended := state.get("terminated"):
            shown = _ended(ended)
        elif held.get("ready") and state.get("running"):
            is_running = True
    if shown == "Completed" and is_running:
        return "Running" if is_condition_true(pod, "Ready") else "NotReady"
    return shown


def _ended(ended: dict[str, Any]) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"
