"""What is particular about one version of a custom kind? A value, made from its CRD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.customresources.words import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    PRESERVE,
    RULES,
    Schema,
)
from terway.lab.kubeapi.schema import ANY, ATOMIC, FieldType

_OBJECT_META = FieldType(name="ObjectMeta")
_TEXT = FieldType(name="string")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where a custom object has what a Scale shows; dotted, as `read_path` takes them."""

    replicas: str
    status_replicas: str
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CustomKind:
    """One version of a custom kind: its schema, and how it is named and shown.

    `type` says how lists merge, as the schema's list types say. `columns` are as in the CRD.
    `warning` is what clients of a deprecated version read. `is_terminating`: its CRD goes.
    `has_rules`: its schema has some, in CEL.
    """

    singular: str
    list_kind: str
    schema: Schema
    type: FieldType
    columns: tuple[Mapping[str, Any], ...] = ()
    scale: ScalePaths | None = None
    warning: str = ""
    is_terminating: bool = False
    has_rules: bool = False


def has_rules(schema: Schema) -> bool:
    """Say whether a schema, or any part of it, has rules in CEL."""
    inner = [*(schema.get("properties") or {}).values()]
    inner += [schema.get("items"), schema.get("additionalProperties")]
    return bool(schema.get(RULES)) or any(has_rules(one) for one in inner if isinstance(one, dict))


def kind_type(schema: Schema) -> FieldType:
    """Return how an object of this schema merges; metadata as in any other kind."""
    fields = _fields(schema)
    envelope = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _OBJECT_META}
    return FieldType(name="custom", fields={**fields, **envelope})


def _fields(schema: Schema) -> dict[str, FieldType]:
    return {name: field_type_of(held) for name, held in schema.get("properties", {}).items()}


def field_type_of(schema: Schema) -> FieldType:
    """Return how a value of this schema merges."""
    if schema.get(INT_OR_STRING):
        return FieldType(name="intstr")
    if schema.get(EMBEDDED):
        return kind_type(schema)
    match schema.get("type"):
        case "array":
            return _list_type(schema)
        case "object":
            return _object_type(schema)
        case str() as scalar:
            return FieldType(name=scalar)
        case _:
            return ANY


def _list_type(schema: Schema) -> FieldType:
    item = field_type_of(schema.get("items", {}))
    kind = schema.get(LIST_TYPE, "atomic")
    keys = tuple(schema.get(LIST_KEYS, ())) if kind == "map" else ()
    inner = schema.get("items", {}).get("properties", {})
    defaults = tuple(
        (key, inner[key]["default"]) for key in keys if "default" in inner.get(key, {})
    )
    return FieldType(name="[]", item=item, keys=keys, key_defaults=defaults, is_set=kind == "set")


def _object_type(schema: Schema) -> FieldType:
    if schema.get("x-kubernetes-map-type") == "atomic":
        return ATOMIC
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        return FieldType(name="{}", item=field_type_of(others))
    if schema.get(PRESERVE) and not schema.get("properties"):
        return ANY
    return FieldType(name="custom", fields=_fields(schema))
