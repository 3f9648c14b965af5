"""What has nobody left to own it, and what must go with its namespace or its time?

Source: Kubernetes docs "Garbage Collection", "Owners and Dependents"; events live for an hour
(kube-apiserver --event-ttl).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.kube.clock import parse_time
from terway.lab.kubeapi.controllers.actions import Action, Delete, Patch
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    is_terminating,
    metadata,
    name_of,
    read_path,
    uid_of,
)
from terway.lab.kubeapi.resources import EVENT, NAMESPACE, ResourceDef
from terway.lab.kubeapi.store import Change, Key

EVENT_TTL_S = 3600.0
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


def plan_garbage(view: View) -> Iterator[Action]:
    """Yield the deletion of objects whose owners are all gone, and the owners' last steps."""
    if view.changes is not None and all(map(_is_birth, view.changes)):
        yield from _plan_newborn(view, view.changes)
        return
    everything = [
        (row, obj) for row in view.table.kinds if row is not EVENT for obj in view.all(row)
    ]
    owners = {uid_of(obj): obj for _, obj in everything}
    dependents: dict[str, list[tuple[ResourceDef, Object]]] = {}
    for row, obj in everything:
        references = metadata(obj).get("ownerReferences") or ()
        for reference in references:
            dependents.setdefault(reference["uid"], []).append((row, obj))
        lost = references and not any(reference["uid"] in owners for reference in references)
        if lost and not is_terminating(obj):
            yield Delete(resource=row, object=obj)
    for row, obj in everything:
        finalizers = metadata(obj).get("finalizers") or ()
        if is_terminating(obj) and ORPHAN in finalizers:
            yield from _orphan(row, obj, dependents.get(uid_of(obj), []))
        elif is_terminating(obj) and FOREGROUND in finalizers:
            yield from _delete_first(row, obj, dependents)


def _is_birth(change: Change) -> bool:
    return change.old is None and not is_terminating(change.new.object)


def _plan_newborn(view: View, changes: Iterable[Change]) -> Iterator[Action]:
    """What is only born owns nothing so far: its own owners are all there is to ask about."""
    for change in changes:
        obj = change.new.object
        references = metadata(obj).get("ownerReferences") or ()
        if references and not any(_is_there(view, one, change.key) for one in references):
            yield Delete(resource=change.resource, object=obj)


def _is_there(view: View, reference: Object, child: Key) -> bool:
    resource = view.table.of_kind(reference.get("apiVersion", ""), reference.get("kind", ""))
    if resource is None:
        return False
    namespace = child.namespace if resource.namespaced else ""
    owner = view.find(resource, Key(namespace, reference.get("name", "")))
    return owner is not None and uid_of(owner) == reference["uid"]


def _orphan(
    row: ResourceDef, owner: Object, dependents: list[tuple[ResourceDef, Object]]
) -> Iterator[Action]:
    for dependent_row, dependent in dependents:
        kept = [
            reference
            for reference in metadata(dependent)["ownerReferences"]
            if reference["uid"] != uid_of(owner)
        ]
        patch = {"metadata": {"ownerReferences": kept}}
        yield Patch(resource=dependent_row, object=dependent, patch=patch)
    if not dependents:
        yield _without(row, owner, ORPHAN)


def _delete_first(
    row: ResourceDef, owner: Object, dependents: dict[str, list[tuple[ResourceDef, Object]]]
) -> Iterator[Action]:
    mine = dependents.get(uid_of(owner), [])
    for dependent_row, dependent in mine:
        if not is_terminating(dependent):
            owns = uid_of(dependent) in dependents
            how = "Foreground" if owns else "Background"
            yield Delete(resource=dependent_row, object=dependent, propagation=how)
    if not mine:
        yield _without(row, owner, FOREGROUND)


def _without(row: ResourceDef, obj: Object, finalizer: str) -> Patch:
    kept = [held for held in metadata(obj)["finalizers"] if held != finalizer]
    return Patch(resource=row, object=obj, patch={"metadata": {"finalizers": kept}})


def plan_namespaces(view: View) -> Iterator[Action]:
    """Yield the end of everything in a namespace that is being deleted, then its own."""
    for namespace in view.all(NAMESPACE):
        if not is_terminating(namespace):
            continue
        contents = [
            (row, obj)
            for row in view.table.kinds
            if row.namespaced
            for obj in view.all(row, name_of(namespace))
        ]
        for row, obj in contents:
            if not is_terminating(obj):
                yield Delete(resource=row, object=obj)
        if not contents and read_path(namespace, "spec.finalizers", []):
            emptied: Object = {"spec": {"finalizers": []}}
            yield Patch(resource=NAMESPACE, object=namespace, patch=emptied)


def plan_expired_events(view: View) -> Iterator[Action]:
    """Yield the deletion of events that are over an hour old."""
    for event in view.all(EVENT):
        seen = event.get("lastTimestamp") or metadata(event)["creationTimestamp"]
        if parse_time(seen) + EVENT_TTL_S < view.now:
            yield Delete(resource=EVENT, object=event)
