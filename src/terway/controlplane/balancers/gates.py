"""How does a pod learn that its load balancers send to it? By a condition of its status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WatchedPod
from terway.kube.client import PatchType
from terway.kube.clock import format_time
from terway.kube.resource import PODS
from terway.kube.types import Condition
from terway.loadbalancer.readiness import REFUSED, Readiness, gate_of
from terway.model.errors import ConflictError


class Gates:
    """Writes conditions. `clock` is seconds since the epoch."""

    def __init__(self, client: KubePort, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    async def write(self, service: str, pod: WatchedPod, said: Readiness) -> bool:
        """Write the condition that stands for `service`; return whether it says anything new."""
        type_ = gate_of(service)
        status = "True" if said.is_true else "False"
        held = condition_of(service, pod)
        if held is not None and _is_said(held, status, said):
            return False
        condition: dict[str, Any] = {
            "type": type_,
            "status": status,
            "reason": said.reason,
            "message": said.message,
        }
        if held is None or held.status != status:
            condition["lastTransitionTime"] = format_time(self._clock())
        metadata = pod.metadata
        try:
            await self._client.patch(
                PODS,
                metadata.name,
                # The uid: another pod of the name has not been seen by anybody yet.
                {"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}},
                namespace=metadata.namespace,
                kind=PatchType.STRATEGIC,
                subresource="status",
            )
        except ConflictError:
            return False  # it is gone, or another: the watch tells
        return True


def condition_of(service: str, pod: WatchedPod) -> Condition | None:
    """Return the condition that stands for `service`."""
    type_ = gate_of(service)
    return next((one for one in pod.status.conditions if one.type == type_), None)


def _is_said(held: Condition, status: str, said: Readiness) -> bool:
    is_same = (held.status, held.reason) == (status, said.reason)
    return is_same and (said.reason != REFUSED or held.message == said.message)


def gated(service: str, pods: Iterable[WatchedPod | None]) -> tuple[WatchedPod, ...]:
    """Return the pods that wait for `service`."""
    type_ = gate_of(service)
    return tuple(
        pod
        for pod in pods
        if pod is not None and type_ in {one.condition_type for one in pod.spec.readiness_gates}
    )
