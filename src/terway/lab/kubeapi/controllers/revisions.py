"""Which templates has a StatefulSet had? Its ControllerRevisions, which `rollout undo` reads.

Source: k8s.io/kubernetes pkg/controller/history and pkg/controller/statefulset
(getStatefulSetRevisions, truncateHistory), v1.32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from terway.lab.kubeapi.controllers.actions import Action, Create, Delete, Patch
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.names import hash_of
from terway.lab.kubeapi.objects import (
    Object,
    controller_uid,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
    uid_of,
)
from terway.lab.kubeapi.resources import CONTROLLER_REVISION

HASH_LABEL = "controller-revision-hash"
_DATA_LABEL = "controller.kubernetes.io/hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What pods are made from: `current` until an update is complete, `update` from now on."""

    current: Object
    update: Object
    held: tuple[Object, ...]  # that exist, the oldest first; `update` may be yet to come


def read_revisions(view: View, owner: Object) -> Revisions:
    """Return the revisions of a StatefulSet, with that of its present template among them."""
    mine = [
        one
        for one in view.all(CONTROLLER_REVISION, namespace_of(owner))
        if controller_uid(one) == uid_of(owner)
    ]
    held = tuple(sorted(mine, key=_number))
    wanted = new_revision(owner, 1 + _number(held[-1]) if held else 1)
    update = next((one for one in held if name_of(one) == name_of(wanted)), wanted)
    stated = read_path(owner, "status.currentRevision", "")
    current = next((one for one in held if name_of(one) == stated), update)
    return Revisions(current=current, update=update, held=held)


def _number(revision: Object) -> int:
    return int(revision.get("revision", 0))


def new_revision(owner: Object, number: int) -> Object:
    """Return the revision of the owner's present template."""
    template = read_path(owner, "spec.template", {})
    hashed = hash_of(template)
    labels = {**read_path(template, "metadata.labels", {}), _DATA_LABEL: hashed}
    return {
        "metadata": {
            "name": f"{name_of(owner)}-{hashed}",
            "namespace": namespace_of(owner),
            "labels": labels,
            "ownerReferences": [owner_reference(owner, api_version="apps/v1", kind="StatefulSet")],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }


def template_of(revision: Object) -> Object:
    """Return the pod template of a revision."""
    held: Object = read_path(revision, "data.spec.template", {})
    return {name: value for name, value in held.items() if name != "$patch"}


def plan_revisions(
    owner: Object, revisions: Revisions, in_use: Collection[str]
) -> Iterator[Action]:
    """Yield what makes the present template's revision the newest, and ends surplus ones.

    `in_use` are the names of revisions that pods are of.
    """
    newest = revisions.held[-1] if revisions.held else None
    if revisions.update not in revisions.held:
        yield Create(resource=CONTROLLER_REVISION, object=revisions.update)
    elif newest is not None and newest is not revisions.update:  # a rollback
        patch = {"revision": _number(newest) + 1}
        yield Patch(resource=CONTROLLER_REVISION, object=revisions.update, patch=patch)
    live = {name_of(revisions.current), name_of(revisions.update), *in_use}
    idle = [one for one in revisions.held if name_of(one) not in live]
    limit = read_path(owner, "spec.revisionHistoryLimit", 10)
    for one in idle[: max(len(idle) - limit, 0)]:
        yield Delete(resource=CONTROLLER_REVISION, object=one)
