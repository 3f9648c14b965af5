"""How far is a Deployment? Its status, which `kubectl rollout status` reads.

Source: k8s.io/kubernetes pkg/controller/deployment/progress.go and sync.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from terway.kube.clock import parse_time
from terway.lab.kubeapi.controllers.replicasets import replicas_of
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    is_pod_ready,
    metadata,
    name_of,
    read_path,
    with_condition,
)
from terway.lab.kubeapi.quantities import scaled_value


class Counted(Protocol):
    """What is needed to know of one ReplicaSet."""

    @property
    def replica_set(self) -> Object: ...  # noqa: D102
    @property
    def pods(self) -> int: ...  # noqa: D102
    @property
    def available(self) -> int: ...  # noqa: D102


def deployment_status(
    deployment: Object, new: Counted | None, old: Sequence[Counted], view: View
) -> Object:
    """Return the status that the Deployment should have."""
    everything = [*old, new] if new else list(old)
    pods = [pod for held in everything for pod in replicas_of(view, held.replica_set)]
    available = sum(held.available for held in everything)
    counts = {
        "replicas": len(pods),
        "updatedReplicas": new.pods if new else 0,
        "readyReplicas": sum(map(is_pod_ready, pods)),
        "availableReplicas": available,
        "unavailableReplicas": max(read_path(deployment, "spec.replicas", 1) - available, 0),
    }
    held = read_path(deployment, "status.conditions", [])
    conditions = with_condition(held, _available(deployment, available), now=view.now_text)
    progress = _progressing(deployment, new, counts, view)
    conditions = with_condition(conditions, progress, now=view.now_text)
    return {
        "observedGeneration": metadata(deployment).get("generation", 1),
        **{name: count for name, count in counts.items() if count},
        "conditions": _with_update_times(conditions, held, view.now_text),
    }


def _available(deployment: Object, available: int) -> Object:
    wanted = read_path(deployment, "spec.replicas", 1)
    rolling = read_path(deployment, "spec.strategy.rollingUpdate", {})
    spare = scaled_value(rolling.get("maxUnavailable", 0), wanted, round_up=False)
    if available >= wanted - spare:
        return {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
        }
    return {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }


def _is_complete(deployment: Object, counts: dict[str, int]) -> bool:
    wanted = read_path(deployment, "spec.replicas", 1)
    names = ("replicas", "updatedReplicas", "availableReplicas")
    return all(counts[name] == wanted for name in names)


def _progressing(
    deployment: Object, new: Counted | None, counts: dict[str, int], view: View
) -> Object:
    name = name_of(new.replica_set) if new else ""
    if new and _is_complete(deployment, counts):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _progress("True", "NewReplicaSetAvailable", message)
    held = condition_of(deployment, "Progressing")
    before = deployment.get("status") or {}
    moved = any(before.get(field, 0) != count for field, count in counts.items())
    deadline_s = read_path(deployment, "spec.progressDeadlineSeconds", 600)
    since = parse_time(held["lastUpdateTime"]) if held else view.now
    if held and not moved and view.now > since + deadline_s:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return _progress("False", "ProgressDeadlineExceeded", message)
    progressed = _progress("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    if moved or held is None:
        return {**progressed, "lastUpdateTime": view.now_text}
    return progressed if held["reason"] != "ProgressDeadlineExceeded" else {**held}


def _progress(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _with_update_times(conditions: list[Object], held: list[Object], now: str) -> list[Object]:
    before = {one["type"]: one for one in held}
    timed = []
    for one in conditions:
        old = before.get(one["type"], {})
        same = all(old.get(field) == one.get(field) for field in ("status", "reason", "message"))
        updated = one.get("lastUpdateTime") or (old.get("lastUpdateTime", now) if same else now)
        timed.append({**one, "lastUpdateTime": updated})
    return sorted(timed, key=lambda one: str(one["type"]))
