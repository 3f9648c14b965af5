"""What is kept of a custom object, and what is filled in?

Source: Kubernetes docs "Extend the Kubernetes API with CustomResourceDefinitions: field pruning,
defaulting"; k8s.io/apiextensions-apiserver pkg/apiserver/schema/pruning and defaulting.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from terway.lab.kubeapi.customresources.words import EMBEDDED, ENVELOPE, PRESERVE, Schema


def prune(value: Any, schema: Schema, *, is_root: bool = False) -> Any:
    """Return `value` without the fields that its schema does not know."""
    if isinstance(value, list):
        items = schema.get("items")
        return value if items is None else [prune(item, items) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, held in value.items():
        inner = field_schema(schema, name, is_root=is_root)
        if inner is not None:
            kept[name] = prune(held, inner) if inner else held
    return kept


def unknown_fields(
    value: Any, schema: Schema, path: str = "", *, is_root: bool = False
) -> Iterator[str]:
    """Yield the paths of what `prune` would take away."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items") or _ANYTHING, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    for name, held in value.items():
        inner, where = (
            field_schema(schema, name, is_root=is_root),
            f"{path}.{name}" if path else name,
        )
        if inner is None:
            yield where
        elif inner:
            yield from unknown_fields(held, inner, where)


_ANYTHING: Schema = {PRESERVE: True}


def field_schema(schema: Schema, name: str, *, is_root: bool = False) -> Schema | None:
    """Return the schema of a field, empty for one that is kept as it is, None for an unknown."""
    if name in ENVELOPE and (is_root or schema.get(EMBEDDED)):
        return {}
    found = schema.get("properties", {}).get(name)
    if found is None:
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            found = others
        elif others is True or schema.get(PRESERVE):
            return {}
    held: Schema | None = found
    return held


def fill(value: Any, schema: Schema) -> Any:
    """Return `value` with the schema's defaults; nulls where null is not allowed give way to them.

    A default fills in what is missing of an object that is there, at any depth.
    """
    if isinstance(value, list):
        items = schema.get("items")
        return value if items is None else [fill(item, items) for item in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    properties: Schema = schema.get("properties", {})
    for name, inner in properties.items():
        wants = "default" in inner
        if wants and filled.get(name) is None and not (name in filled and inner.get("nullable")):
            filled[name] = copy.deepcopy(inner["default"])
    others = schema.get("additionalProperties")
    for name, held in filled.items():
        found = properties.get(name, others)
        if isinstance(found, dict):
            filled[name] = fill(held, found)
    return filled


def present(obj: dict[str, Any], schema: Schema, api_version: str) -> dict[str, Any]:
    """Return an object that was written in another version, or by another schema, as in this one.

    Conversion is None: only apiVersion changes, besides what any read from the store does.
    """
    kept = prune(obj, schema, is_root=True)
    return {**fill(kept, schema), "apiVersion": api_version}
