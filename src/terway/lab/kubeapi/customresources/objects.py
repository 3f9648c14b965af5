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


def validate_custom(obj: Object, kind: CustomKind, old: Object | None) -> Iterator[Cause]:
    """Yield what the schema refuses of what is new, or has changed since the `old` state."""
    causes = list(validate_structure(obj, kind.schema, "", old))
    yield from causes
    if kind.has_rules:
        from terway.lab.kubeapi.customresources.rules import check_rules

        yield from check_rules(obj, kind.schema, old, causes)


def content_of(obj: Object, *, has_status: bool) -> Object:
    """Return what metadata.generation of a custom object counts the changes of."""
    aside = ("metadata", "status") if has_status else ("metadata",)
    return {name: held for name, held in obj.items() if name not in aside}
