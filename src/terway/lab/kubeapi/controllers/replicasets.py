"""How many pods does a ReplicaSet need, and which go first when it has too many?

Source: k8s.io/kubernetes pkg/controller/replicaset, v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.lab.kubeapi.controllers.actions import (
    Action,
    Create,
    Delete,
    Patch,
    Tell,
    status_patch,
)
from terway.lab.kubeapi.controllers.view import View, is_active
from terway.lab.kubeapi.objects import (
    Object,
    controller_uid,
    is_pod_ready,
    is_terminating,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
    uid_of,
)
from terway.lab.kubeapi.resources import POD, REPLICA_SET
from terway.lab.kubeapi.selectors import label_selector

_BURST = 500  # pods made or removed in one look
_COMPONENT = "replicaset-controller"


def plan_replica_sets(view: View) -> Iterator[Action]:
    """Yield what brings each ReplicaSet to its number of pods, and its status to the truth."""
    for replica_set in view.all(REPLICA_SET):
        yield from _plan_ownership(view, replica_set)
        if not is_terminating(replica_set):
            yield from _plan_pods(view, replica_set)
        yield from _plan_status(view, replica_set)


def _plan_ownership(view: View, replica_set: Object) -> Iterator[Action]:
    matches = label_selector(read_path(replica_set, "spec.selector"))
    for pod in view.pods_of(replica_set):
        if not matches(labels_of(pod)) and not is_terminating(pod):
            kept = [
                owner
                for owner in metadata(pod)["ownerReferences"]
                if owner["uid"] != uid_of(replica_set)
            ]
            yield Patch(resource=POD, object=pod, patch={"metadata": {"ownerReferences": kept}})
    if is_terminating(replica_set):
        return
    for pod in view.pods_by_controller.get("", ()):
        same_namespace = namespace_of(pod) == namespace_of(replica_set)
        if same_namespace and is_active(pod) and matches(labels_of(pod)):
            owners = [*(metadata(pod).get("ownerReferences") or ()), _reference(replica_set)]
            yield Patch(resource=POD, object=pod, patch={"metadata": {"ownerReferences": owners}})


def _reference(replica_set: Object) -> Object:
    return owner_reference(replica_set, api_version="apps/v1", kind="ReplicaSet")


def replicas_of(view: View, replica_set: Object) -> list[Object]:
    """Return the ReplicaSet's pods that count."""
    matches = label_selector(read_path(replica_set, "spec.selector"))
    return [pod for pod in view.pods_of(replica_set) if is_active(pod) and matches(labels_of(pod))]


def _plan_pods(view: View, replica_set: Object) -> Iterator[Action]:
    active = replicas_of(view, replica_set)
    missing = read_path(replica_set, "spec.replicas", 0) - len(active)
    if missing > 0:
        for _ in range(min(missing, _BURST)):
            told = _tell(replica_set, "SuccessfulCreate", "Created pod: {name}")
            yield Create(resource=POD, object=new_pod(replica_set), tell=told)
    elif missing < 0:
        surplus = sorted(active, key=_keep_order)[: min(-missing, _BURST)]
        for pod in surplus:
            yield Delete(resource=POD, object=pod)
            yield _tell(replica_set, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


def _tell(replica_set: Object, reason: str, message: str) -> Tell:
    return Tell(
        resource=REPLICA_SET,
        object=replica_set,
        reason=reason,
        message=message,
        component=_COMPONENT,
    )


def _keep_order(pod: Object) -> tuple[bool, bool, bool, list[int], str]:
    # The first go first: not on a node, not running, not ready, then the youngest.
    created = str(metadata(pod).get("creationTimestamp", ""))
    return (
        bool(read_path(pod, "spec.nodeName")),
        read_path(pod, "status.phase") == "Running",
        is_pod_ready(pod),
        [-ord(letter) for letter in created],
        name_of(pod),
    )


def new_pod(replica_set: Object) -> Object:
    """Return the pod that the ReplicaSet makes, without a name: the server makes one up."""
    template = read_path(replica_set, "spec.template", {})
    meta = {
        **(template.get("metadata") or {}),
        "generateName": f"{name_of(replica_set)}-",
        "namespace": namespace_of(replica_set),
        "ownerReferences": [_reference(replica_set)],
    }
    return {"metadata": meta, "spec": template.get("spec") or {}}


def _plan_status(view: View, replica_set: Object) -> Iterator[Action]:
    active = replicas_of(view, replica_set)
    min_ready_s = read_path(replica_set, "spec.minReadySeconds", 0)
    wanted = {
        "replicas": len(active),
        "fullyLabeledReplicas": len(active),
        "readyReplicas": sum(map(is_pod_ready, active)),
        "availableReplicas": sum(view.is_available(pod, min_ready_s) for pod in active),
        "observedGeneration": metadata(replica_set).get("generation", 1),
    }
    if replica_set.get("status") != wanted:
        yield status_patch(REPLICA_SET, replica_set, wanted)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Say whether `owner` is the controller of `obj`."""
    return controller_uid(obj) == uid_of(owner)
