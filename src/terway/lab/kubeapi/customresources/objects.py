"""Does an object fit its custom kind, and what is kept of it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terway.lab.kubeapi.customresources.kind import CustomKind
from terway.lab.kubeapi.customresources.pruning import prune, unknown_fields
from terway.lab.kubeapi.decoding import Mismatch, check_object, normalize
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.schema import type_named
from terway.lab.kubeapi.structural import validate_structure


def check_custom(obj: Object, kind: CustomKind) -> Iterator[Mismatch]:
    """Yield the fields that the schema does not know, and what is wrong with the metadata.

    Values of the wrong type are left to validation, as in the real server.
    """
    yield from check_object(obj.get("metadata"), type_named("ObjectMeta"), "metadata")
    for path in unknown_fields(obj, kind.schema, is_root=True):
        yield Mismatch(path=path, message=f'unknown field "{path}"', is_unknown=True)


def prune_custom(obj: Object, kind: CustomKind) -> Object:
    """Return the object as it is stored, before its defaults."""
    pruned: dict[str, Any] = prune(obj, kind.schema, is_root=True)
    if "metadata" in pruned:
        pruned["metadata"] = normalize(pruned["metadata"], type_named("ObjectMeta"))
    return pruned


def validate_custom(obj: Object, kind: CustomKind) -> tuple[Cause, ...]:
    """Return what the schema refuses."""
    return tuple(validate_structure(obj, kind.schema, ""))


def new_faults(causes: tuple[Cause, ...], old: Object, kind: CustomKind) -> tuple[Cause, ...]:
    """Return those causes that the old state did not give: a schema may have grown stricter.

    So finalizers and status of such an object can be written. Source: KEP-4008, CRD validation
    ratcheting; here a fault is known by its field and words, not by the value around it.
    """
    if not causes:
        return ()
    known = set(validate_custom(old, kind))
    return tuple(cause for cause in causes if cause not in known)


def content_of(obj: Object, *, has_status: bool) -> Object:
    """Return what metadata.generation of a custom object counts the changes of."""
    aside = ("metadata", "status") if has_status else ("metadata",)
    return {name: held for name, held in obj.items() if name not in aside}
