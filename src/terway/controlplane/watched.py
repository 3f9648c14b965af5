"""What is kept of the pods and nodes of a whole cluster? What our controllers read, no more.

100,000 pods are in memory, so each is cut down when it comes: annotations of others go, texts
that many pods share are held once, and so are whole parts that pods of one template share.
"""

from __future__ import annotations

from collections.abc import Hashable
from sys import intern
from typing import TypeVar

import msgspec
from msgspec import structs

from terway.kube.resource import NODES, PODS, Resource
from terway.kube.types import (
    Condition,
    Container,
    Node,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    _Value,
)
from terway.loadbalancer.readiness import GATE_PREFIX, REFUSED

T = TypeVar("T")

_OURS = ("k8s.aliyun.com/", "alibabacloud.com/", "k8s.aliyun.com", "kubernetes.io/", "cpuSet")
_SHARED_LIMIT = 65_536  # different parts that are remembered; then it begins anew


class ReadinessGate(_Value, frozen=True, kw_only=True):
    """A condition that a pod must have before it is ready."""

    condition_type: str = ""


class SchedulingGate(_Value, frozen=True, kw_only=True):
    """Why a pod is not scheduled yet."""

    name: str = ""


class WatchedPodSpec(PodSpec, frozen=True, kw_only=True):
    """A pod's spec, with what keeps it back."""

    readiness_gates: tuple[ReadinessGate, ...] = ()
    scheduling_gates: tuple[SchedulingGate, ...] = ()


class WatchedPod(Pod, frozen=True, kw_only=True):
    """core/v1 Pod, as controllers see it."""

    spec: WatchedPodSpec = WatchedPodSpec()


class _Shared:
    """Values that are equal become one value."""

    def __init__(self) -> None:
        self._known: dict[Hashable, object] = {}

    def one(self, value: T) -> T:
        """Return a value equal to `value`, the same one for all."""
        key = (type(value), msgspec.json.encode(value))
        if len(self._known) >= _SHARED_LIMIT:
            self._known.clear()
        found: T = self._known.setdefault(key, value)  # type: ignore[assignment]  # by its type
        return found


_shared = _Shared()


def shrink_pod(pod: WatchedPod) -> WatchedPod:
    """Return what is kept of a pod."""
    spec = pod.spec
    return WatchedPod(
        metadata=_metadata(pod.metadata),
        spec=WatchedPodSpec(
            node_name=intern(spec.node_name),
            host_network=spec.host_network,
            restart_policy=intern(spec.restart_policy),
            containers=_shared.one(tuple(map(_container, spec.containers))),
            readiness_gates=_shared.one(spec.readiness_gates),
            scheduling_gates=_shared.one(spec.scheduling_gates),
        ),
        status=PodStatus(
            phase=intern(pod.status.phase),
            pod_ip=pod.status.pod_ip,
            pod_ips=pod.status.pod_ips,
            host_ip=intern(pod.status.host_ip),
            conditions=tuple(_shared.one(_condition(one)) for one in pod.status.conditions),
        ),
    )


def shrink_node(node: Node) -> Node:
    """Return what is kept of a node: a heartbeat is no change to us."""
    conditions = tuple(
        structs.replace(one, last_heartbeat_time=None) for one in node.status.conditions
    )
    status = structs.replace(node.status, conditions=conditions)
    return structs.replace(node, metadata=_metadata(node.metadata), status=status)


def _metadata(found: ObjectMeta) -> ObjectMeta:
    annotations = {
        intern(name): value for name, value in found.annotations.items() if _is_ours(name)
    }
    return structs.replace(
        found,
        namespace=intern(found.namespace),
        labels=_shared.one(found.labels),
        annotations=annotations,
        owner_references=_shared.one(tuple(map(_owner, found.owner_references))),
        finalizers=_shared.one(found.finalizers),
    )


def _is_ours(name: str) -> bool:
    return any(mark in name for mark in _OURS) and "last-applied" not in name


def _owner(found: OwnerReference) -> OwnerReference:
    return structs.replace(found, api_version=intern(found.api_version), kind=intern(found.kind))


def _container(found: Container) -> Container:
    limits = {name: held for name, held in found.resources.limits.items() if "aliyun/" in name}
    return structs.replace(found, resources=structs.replace(found.resources, limits=limits))


def _condition(found: Condition) -> Condition:
    # Times and messages differ from pod to pod, and nobody here reads them but for a refusal.
    type_ = intern(found.type)
    reason = intern(found.reason) if type_.startswith(GATE_PREFIX) else ""
    message = intern(found.message) if reason == REFUSED else ""
    return Condition(type=type_, status=intern(found.status), reason=reason, message=message)


WATCHED_PODS: Resource[WatchedPod] = Resource(
    group=PODS.group,
    version=PODS.version,
    plural=PODS.plural,
    kind=PODS.kind,
    namespaced=True,
    read_as=WatchedPod,
    shrink=shrink_pod,
)
WATCHED_NODES: Resource[Node] = Resource(
    group=NODES.group,
    version=NODES.version,
    plural=NODES.plural,
    kind=NODES.kind,
    namespaced=False,
    read_as=Node,
    shrink=shrink_node,
)
