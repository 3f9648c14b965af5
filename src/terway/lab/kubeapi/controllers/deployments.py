"""How does a Deployment go from one template to the next without losing availability?

    never more than replicas + maxSurge pods, never fewer than replicas - maxUnavailable available

Source: k8s.io/kubernetes pkg/controller/deployment (rolling.go, recreate.go, sync.go), v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from terway.lab.kubeapi.controllers.actions import (
    Action,
    Create,
    Delete,
    Patch,
    Tell,
    status_patch,
)
from terway.lab.kubeapi.controllers.replicasets import is_controlled_by, replicas_of
from terway.lab.kubeapi.controllers.rollout_status import deployment_status
from terway.lab.kubeapi.controllers.view import View, age_order
from terway.lab.kubeapi.names import hash_of
from terway.lab.kubeapi.objects import (
    Object,
    annotations_of,
    is_terminating,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
    uid_of,
)
from terway.lab.kubeapi.quantities import scaled_value
from terway.lab.kubeapi.resources import DEPLOYMENT, REPLICA_SET

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One ReplicaSet of a Deployment, with how many of its pods are available now."""

    replica_set: Object
    replicas: int  # as its spec has it
    pods: int  # that exist and are not going away
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A Deployment and its ReplicaSets. `new` is the one of the present template."""

    deployment: Object
    new: Generation | None
    old: tuple[Generation, ...]  # the oldest first
    lingering: int  # pods of old ReplicaSets that are still going away

    @property
    def wanted(self) -> int:
        """The number of replicas that the Deployment wants."""
        return int(read_path(self.deployment, "spec.replicas", 1))

    @property
    def generations(self) -> tuple[Generation, ...]:
        """All ReplicaSets."""
        return (*self.old, self.new) if self.new else self.old


def plan_deployments(view: View) -> Iterator[Action]:
    """Yield the next step of each Deployment's rollout, and its status."""
    for deployment in view.all(DEPLOYMENT):
        if is_terminating(deployment):
            continue
        rollout = read_rollout(view, deployment)
        yield from _plan_new(rollout)
        yield from _plan_scaling(rollout)
        yield from _plan_history(rollout)
        status = deployment_status(rollout.deployment, rollout.new, rollout.old, view)
        if deployment.get("status") != status:
            yield status_patch(DEPLOYMENT, deployment, status)


def read_rollout(view: View, deployment: Object) -> Rollout:
    """Return the Deployment with its ReplicaSets and what is available of them."""
    min_ready_s = read_path(deployment, "spec.minReadySeconds", 0)
    wanted_hash = template_hash(deployment)
    new, old, lingering = None, [], 0
    mine = [
        held
        for held in view.all(REPLICA_SET, namespace_of(deployment))
        if is_controlled_by(held, deployment)
    ]
    for held in sorted(mine, key=age_order):
        pods = replicas_of(view, held)
        generation = Generation(
            replica_set=held,
            replicas=read_path(held, "spec.replicas", 0),
            pods=len(pods),
            available=sum(view.is_available(pod, min_ready_s) for pod in pods),
        )
        if read_path(held, f"metadata.labels.{HASH_LABEL}") == wanted_hash:
            new = generation
        else:
            old.append(generation)
            lingering += len(view.pods_of(held)) - len(pods)
    return Rollout(deployment=deployment, new=new, old=tuple(old), lingering=lingering)


def template_hash(deployment: Object) -> str:
    """Return the label value that tells the pods of one template from those of another."""
    return hash_of(read_path(deployment, "spec.template", {}))


def _next_revision(rollout: Rollout) -> int:
    return 1 + max((_revision(held.replica_set) for held in rollout.old), default=0)


def _revision(obj: Object) -> int:
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _plan_new(rollout: Rollout) -> Iterator[Action]:
    revision = _next_revision(rollout)
    if rollout.new is None:
        if not read_path(rollout.deployment, "spec.paused", False):
            yield Create(resource=REPLICA_SET, object=new_replica_set(rollout.deployment, revision))
    elif _revision(rollout.new.replica_set) < revision:  # a rollback: the newest again
        patch = {"metadata": {"annotations": {REVISION: str(revision)}}}
        yield Patch(resource=REPLICA_SET, object=rollout.new.replica_set, patch=patch)
        return
    if rollout.new and _revision(rollout.deployment) != _revision(rollout.new.replica_set):
        value = str(_revision(rollout.new.replica_set))
        patch = {"metadata": {"annotations": {REVISION: value}}}
        yield Patch(resource=DEPLOYMENT, object=rollout.deployment, patch=patch)


def new_replica_set(deployment: Object, revision: int) -> Object:
    """Return the ReplicaSet of the Deployment's present template, with no replicas yet."""
    hashed = template_hash(deployment)
    template = read_path(deployment, "spec.template", {})
    labels = {**(read_path(template, "metadata.labels", {})), HASH_LABEL: hashed}
    selector = read_path(deployment, "spec.selector", {})
    spec = {
        "replicas": 0,
        "minReadySeconds": read_path(deployment, "spec.minReadySeconds", 0),
        "selector": {
            **selector,
            "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: hashed},
        },
        "template": {
            **template,
            "metadata": {**(template.get("metadata") or {}), "labels": labels},
        },
    }
    owner = owner_reference(deployment, api_version="apps/v1", kind="Deployment")
    meta = {
        "name": f"{name_of(deployment)}-{hashed}",
        "namespace": namespace_of(deployment),
        "labels": labels,
        "annotations": {REVISION: str(revision)},
        "ownerReferences": [owner],
    }
    return {"metadata": meta, "spec": spec}


def _plan_scaling(rollout: Rollout) -> Iterator[Action]:
    if read_path(rollout.deployment, "spec.paused", False):
        targets = _paused_targets(rollout)
    elif read_path(rollout.deployment, "spec.strategy.type") == "Recreate":
        targets = recreate_targets(rollout)
    else:
        targets = rolling_targets(rollout)
    for generation in rollout.generations:
        target = targets.get(uid_of(generation.replica_set), generation.replicas)
        if target == generation.replicas:
            continue
        patch = {"spec": {"replicas": target}}
        yield Patch(resource=REPLICA_SET, object=generation.replica_set, patch=patch)
        way = "up" if target > generation.replicas else "down"
        yield Tell(
            resource=DEPLOYMENT,
            object=rollout.deployment,
            reason="ScalingReplicaSet",
            message=(
                f"Scaled {way} replica set {name_of(generation.replica_set)} "
                f"from {generation.replicas} to {target}"
            ),
            component="deployment-controller",
        )


def _paused_targets(rollout: Rollout) -> dict[str, int]:
    # A paused Deployment still follows its number of replicas, on its newest ReplicaSet.
    active = [held for held in rollout.generations if held.replicas] or rollout.generations[-1:]
    return {uid_of(active[-1].replica_set): rollout.wanted} if len(active) == 1 else {}


def recreate_targets(rollout: Rollout) -> dict[str, int]:
    """Return the replicas by ReplicaSet uid: all old pods go, then the new come."""
    targets = {uid_of(held.replica_set): 0 for held in rollout.old}
    gone = not rollout.lingering and not any(held.pods for held in rollout.old)
    if rollout.new and gone:
        targets[uid_of(rollout.new.replica_set)] = rollout.wanted
    return targets


def _limits(rollout: Rollout) -> tuple[int, int]:
    rolling = read_path(rollout.deployment, "spec.strategy.rollingUpdate", {})
    wanted = rollout.wanted
    surge = scaled_value(rolling.get("maxSurge", "25%"), wanted, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
    if not surge and not unavailable:
        unavailable = 1  # else it could never move
    return surge, min(unavailable, wanted)


def rolling_targets(rollout: Rollout) -> dict[str, int]:
    """Return the replicas by ReplicaSet uid: as many new as surge allows, as few old as safe."""
    if rollout.new is None:
        return {}
    surge, unavailable = _limits(rollout)
    new, wanted = rollout.new, rollout.wanted
    total = sum(max(held.replicas, held.pods) for held in rollout.generations)
    room = max(wanted + surge - total, 0)
    target = min(new.replicas + room, wanted) if new.replicas < wanted else wanted
    targets = {uid_of(new.replica_set): target}
    new_missing = max(target - new.available, 0)
    minimum = wanted - unavailable
    spare = sum(held.replicas for held in rollout.old) + target - minimum - new_missing
    return targets | _scale_down(rollout.old, spare)


def _scale_down(old: tuple[Generation, ...], spare: int) -> dict[str, int]:
    # Pods that do not serve go first: they cost nothing.
    left = {uid_of(held.replica_set): held.replicas for held in old}
    broken_first = [(held, held.replicas - held.available) for held in old]
    for held, broken in broken_first + [(held, held.replicas) for held in old]:
        uid = uid_of(held.replica_set)
        gone = max(min(broken, left[uid], spare), 0)
        left[uid] -= gone
        spare -= gone
    return left


def _plan_history(rollout: Rollout) -> Iterator[Action]:
    limit = read_path(rollout.deployment, "spec.revisionHistoryLimit", 10)
    idle = [held for held in rollout.old if not held.replicas and not held.pods]
    for held in idle[: max(len(idle) - limit, 0)]:
        yield Delete(resource=REPLICA_SET, object=held.replica_set)
