"""Which pod of a StatefulSet comes or goes next?

    web-0, web-1, web-2: each has its name for good; a new one comes only when the old object of
    that name is gone, whoever lost it. OrderedReady: one at a time, up from below and down from
    above, and only while those before it are available. Updates go down from above, one by one.

Source: k8s.io/kubernetes pkg/controller/statefulset (stateful_set_control.go,
stateful_set_utils.go), v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from terway.lab.kubeapi.controllers.actions import Action, Create, Delete, Patch, Tell, status_patch
from terway.lab.kubeapi.controllers.revisions import (
    HASH_LABEL,
    Revisions,
    plan_revisions,
    read_revisions,
    template_of,
)
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    is_pod_finished,
    is_terminating,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
)
from terway.lab.kubeapi.resources import POD, STATEFUL_SET
from terway.lab.kubeapi.selectors import label_selector
from terway.lab.kubeapi.statefulsets import PARALLEL, ROLLING
from terway.lab.kubeapi.store import Key

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_COMPONENT = "statefulset-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """A StatefulSet with its pods, by ordinal. `wanted` are the ordinals that there should be."""

    owner: Object
    pods: dict[int, Object]
    wanted: range
    revisions: Revisions

    @property
    def is_ordered(self) -> bool:
        """Whether one pod waits for another."""
        return bool(read_path(self.owner, "spec.podManagementPolicy") != PARALLEL)

    @property
    def condemned(self) -> list[int]:
        """The ordinals of pods that are to go, the first to go first."""
        return sorted((one for one in self.pods if one not in self.wanted), reverse=True)

    @property
    def first_unhealthy(self) -> int | None:
        """The lowest ordinal that waits for its pod, None when all are well."""
        ordinals = [*self.wanted, *reversed(self.condemned)]
        return next((one for one in ordinals if not _is_healthy(self.pods.get(one))), None)


def plan_stateful_sets(view: View) -> Iterator[Action]:
    """Yield the next step of each StatefulSet, and its status."""
    for owner in view.all(STATEFUL_SET):
        yield from _plan_adoption(view, owner)
        if is_terminating(owner):
            continue
        members = read_members(view, owner)
        in_use = {_revision_of(pod) for pod in members.pods.values()}
        yield from plan_revisions(owner, members.revisions, in_use)
        yield from plan_members(view, members)
        status = stateful_set_status(view, members)
        if owner.get("status") != status:
            yield status_patch(STATEFUL_SET, owner, status)


def read_members(view: View, owner: Object) -> Members:
    """Return the StatefulSet with its pods and revisions."""
    start = read_path(owner, "spec.ordinals.start", 0)
    found = {ordinal_of(owner, pod): pod for pod in view.pods_of(owner)}
    return Members(
        owner=owner,
        pods={ordinal: pod for ordinal, pod in found.items() if ordinal is not None},
        wanted=range(start, start + read_path(owner, "spec.replicas", 1)),
        revisions=read_revisions(view, owner),
    )


def ordinal_of(owner: Object, pod: Object) -> int | None:
    """Return the ordinal in a pod's name, None for a pod of another name."""
    parent, _, ordinal = name_of(pod).rpartition("-")
    return int(ordinal) if parent == name_of(owner) and ordinal.isdecimal() else None


def _plan_adoption(view: View, owner: Object) -> Iterator[Action]:
    if is_terminating(owner):
        return
    matches = label_selector(read_path(owner, "spec.selector"))
    for pod in view.pods_by_controller.get("", ()):
        if namespace_of(pod) != namespace_of(owner) or is_terminating(pod):
            continue
        if ordinal_of(owner, pod) is not None and matches(labels_of(pod)):
            owners = [*(metadata(pod).get("ownerReferences") or ()), _reference(owner)]
            yield Patch(resource=POD, object=pod, patch={"metadata": {"ownerReferences": owners}})


def _reference(owner: Object) -> Object:
    return owner_reference(owner, api_version="apps/v1", kind="StatefulSet")


def plan_members(view: View, members: Members) -> Iterator[Action]:
    """Yield the pods to make and to end now."""
    for ordinal in members.wanted:
        yield from _plan_presence(view, members, ordinal)
        if not _may_go_on(view, members, ordinal):
            return
    for ordinal in members.condemned:
        pod = members.pods[ordinal]
        if not is_terminating(pod):
            if members.is_ordered and not _may_go(view, members, ordinal):
                return
            yield from _end(members.owner, pod)
        if members.is_ordered:
            return
    if read_path(members.owner, "spec.updateStrategy.type", ROLLING) == ROLLING:
        yield from _plan_update(members)


def _plan_presence(view: View, members: Members, ordinal: int) -> Iterator[Action]:
    pod = members.pods.get(ordinal)
    if pod is None:
        made = new_pod(members, ordinal)
        # Another's pod of this name: creating would be refused again and again.
        if view.find(POD, Key(namespace_of(made), name_of(made))) is None:
            yield Create(resource=POD, object=made)
            yield _tell(members.owner, "SuccessfulCreate", f"create Pod {name_of(made)} in")
    elif is_pod_finished(pod) and not is_terminating(pod):
        yield from _end(members.owner, pod)


def _may_go_on(view: View, members: Members, ordinal: int) -> bool:
    pod = members.pods.get(ordinal)
    if not members.is_ordered:
        return pod is None or not is_pod_finished(pod)
    return pod is not None and not is_terminating(pod) and _is_available(view, members.owner, pod)


def _may_go(view: View, members: Members, ordinal: int) -> bool:
    """Say whether the pod may be ended: while another is ill, only the ill one itself."""
    available = _is_available(view, members.owner, members.pods[ordinal])
    return available or ordinal == members.first_unhealthy


def _plan_update(members: Members) -> Iterator[Action]:
    partition = read_path(members.owner, "spec.updateStrategy.rollingUpdate.partition", 0)
    wanted = name_of(members.revisions.update)
    for ordinal in reversed(members.wanted[partition:]):
        pod = members.pods.get(ordinal)
        if pod is None or is_terminating(pod):
            return
        if _revision_of(pod) != wanted:
            yield from _end(members.owner, pod)
            return
        if not _is_healthy(pod):
            return


def _end(owner: Object, pod: Object) -> Iterator[Action]:
    yield Delete(resource=POD, object=pod)
    yield _tell(owner, "SuccessfulDelete", f"delete Pod {name_of(pod)} in")


def _tell(owner: Object, reason: str, what: str) -> Tell:
    return Tell(
        resource=STATEFUL_SET,
        object=owner,
        reason=reason,
        message=f"{what} StatefulSet {name_of(owner)} successful",
        component=_COMPONENT,
    )


def new_pod(members: Members, ordinal: int) -> Object:
    """Return the pod of an ordinal: of the old template below the partition."""
    owner, revisions = members.owner, members.revisions
    strategy = read_path(owner, "spec.updateStrategy", {})
    partition = read_path(strategy, "rollingUpdate.partition", 0)
    is_kept = strategy.get("type") == ROLLING and ordinal < members.wanted.start + partition
    revision = revisions.current if is_kept else revisions.update
    template = template_of(revision)
    name = f"{name_of(owner)}-{ordinal}"
    held = template.get("metadata") or {}
    own = {
        NAME_LABEL: name,
        INDEX_LABEL: str(ordinal),
        HASH_LABEL: name_of(revision),
    }
    spec = {**(template.get("spec") or {}), "hostname": name}
    if service := read_path(owner, "spec.serviceName"):
        spec["subdomain"] = service
    return {
        "metadata": {
            **held,
            "name": name,
            "namespace": namespace_of(owner),
            "labels": {**(held.get("labels") or {}), **own},
            "ownerReferences": [_reference(owner)],
        },
        "spec": spec,
    }


def _revision_of(pod: Object) -> str:
    return labels_of(pod).get(HASH_LABEL, "")


def _is_running_and_ready(pod: Object | None) -> bool:
    # A pod that is going away counts until it is gone, unlike with a ReplicaSet.
    if pod is None or read_path(pod, "status.phase") != "Running":
        return False
    return is_condition_true(pod, "Ready")


def _is_healthy(pod: Object | None) -> bool:
    return pod is not None and _is_running_and_ready(pod) and not is_terminating(pod)


def _is_available(view: View, owner: Object, pod: Object) -> bool:
    min_ready_s = read_path(owner, "spec.minReadySeconds", 0)
    return _is_healthy(pod) and view.is_available(pod, min_ready_s)


def stateful_set_status(view: View, members: Members) -> Object:
    """Return the status that the StatefulSet should have; `kubectl rollout status` reads it."""
    owner, pods = members.owner, list(members.pods.values())
    live = [_revision_of(pod) for pod in pods if not is_terminating(pod)]
    current, update = name_of(members.revisions.current), name_of(members.revisions.update)
    ready = sum(map(_is_running_and_ready, pods))
    counts = {"current": live.count(current), "updated": live.count(update)}
    rolls = read_path(owner, "spec.updateStrategy.type", ROLLING) == ROLLING
    if rolls and counts["updated"] == len(pods) == ready:  # the update is complete
        current, counts["current"] = update, counts["updated"]
    return {
        "observedGeneration": metadata(owner).get("generation", 1),
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": sum(_is_available(view, owner, pod) for pod in pods),
        "currentReplicas": counts["current"],
        "updatedReplicas": counts["updated"],
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": 0,
    }
