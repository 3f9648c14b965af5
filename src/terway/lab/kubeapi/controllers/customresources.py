"""What goes with a CustomResourceDefinition: every object of its kind.

Source: k8s.io/apiextensions-apiserver pkg/controller/finalizer.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.lab.kubeapi.controllers.actions import Action, Delete, Patch, status_patch
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.customresources.definitions import CLEANUP
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    is_terminating,
    metadata,
    name_of,
    read_path,
    with_condition,
)
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION

_GOING: Object = {
    "type": "Terminating",
    "status": "True",
    "reason": "InstanceDeletionInProgress",
    "message": "CustomResource deletion is in progress",
}


def plan_custom_resources(view: View) -> Iterator[Action]:
    """Yield the end of what belongs to a CRD that is being deleted, then its own."""
    for definition in view.all(CUSTOM_RESOURCE_DEFINITION):
        finalizers = metadata(definition).get("finalizers") or []
        if not is_terminating(definition) or CLEANUP not in finalizers:
            continue
        if condition_of(definition, "Terminating") is None:
            held = read_path(definition, "status.conditions", [])
            conditions = with_condition(held, _GOING, now=view.now_text)
            status = {**(definition.get("status") or {}), "conditions": conditions}
            yield status_patch(CUSTOM_RESOURCE_DEFINITION, definition, status)
            continue
        yield from _plan_end(view, definition, finalizers)


def _plan_end(view: View, definition: Object, finalizers: list[str]) -> Iterator[Action]:
    rows = [row for row in view.table.kinds if row.qualified == name_of(definition)]
    objects = [(row, obj) for row in rows for obj in view.all(row)]
    for row, obj in objects:
        if not is_terminating(obj):
            yield Delete(resource=row, object=obj)
    if not objects:
        kept = [one for one in finalizers if one != CLEANUP]
        patch = {"metadata": {"finalizers": kept}}
        yield Patch(resource=CUSTOM_RESOURCE_DEFINITION, object=definition, patch=patch)
