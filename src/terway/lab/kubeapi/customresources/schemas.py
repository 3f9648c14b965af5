"""Is this a structural schema, and one that this server can hold objects to?

Source: Kubernetes docs "Specifying a structural schema"; k8s.io/apiextensions-apiserver
pkg/apiserver/schema/validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.customresources.pruning import fill, unknown_fields
from terway.lab.kubeapi.customresources.words import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    PRESERVE,
    RULES,
    Schema,
)
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.structural import validate_structure

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# What a junctor may not say: it only restricts what the structure around it has.
_STRUCTURE = (
    "type",
    "description",
    "default",
    "nullable",
    "additionalProperties",
    PRESERVE,
    EMBEDDED,
    INT_OR_STRING,
    LIST_TYPE,
    LIST_KEYS,
)
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "patternProperties", "uniqueItems")


def validate_schema(schema: Schema, path: str, *, is_root: bool = True) -> Iterator[Cause]:
    """Yield what keeps a schema from being structural."""
    kind = schema.get("type", "")
    if not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        where = "object fields" if path.rpartition(".")[2] != "items" else "array items"
        yield required(f"{path}.type", f"must not be empty for specified {where}")
    elif kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield forbidden_value(f"{path}.{name}", f"{name} is not supported")
    yield from _extensions(schema, path)
    yield from _pattern(schema, path)
    yield from _default(schema, path, is_root=is_root)
    yield from _children(schema, path)
    for where, inner in _junctors(schema, path):
        yield from _restriction(inner, where, has_int_or_string=bool(schema.get(INT_OR_STRING)))


def _children(schema: Schema, path: str) -> Iterator[Cause]:
    for name, inner in (schema.get("properties") or {}).items():
        yield from validate_schema(inner, f"{path}.properties[{name}]", is_root=False)
    others = schema.get("additionalProperties")
    if others is not None and schema.get("properties"):
        why = "additionalProperties and properties are mutual exclusive"
        yield forbidden_value(f"{path}.additionalProperties", why)
    if isinstance(others, dict):
        yield from validate_schema(others, f"{path}.additionalProperties", is_root=False)
    if schema.get("type") == "array":
        if schema.get("items") is None:
            yield required(f"{path}.items", "must be specified")
        else:
            yield from validate_schema(schema["items"], f"{path}.items", is_root=False)


def _extensions(schema: Schema, path: str) -> Iterator[Cause]:
    if schema.get(LIST_TYPE) == "map":
        if not schema.get(LIST_KEYS):
            why = "must not be empty if x-kubernetes-list-type is map"
            yield required(f"{path}.{LIST_KEYS}", why)
        fields = (schema.get("items") or {}).get("properties") or {}
        for index, key in enumerate(schema.get(LIST_KEYS) or ()):
            if key not in fields:
                why = "entries must all be names of item properties"
                yield invalid_value(f"{path}.{LIST_KEYS}[{index}]", key, why)
    elif schema.get(LIST_TYPE) not in (None, "atomic", "set"):
        yield not_supported(f"{path}.{LIST_TYPE}", schema[LIST_TYPE], ("atomic", "map", "set"))
    if schema.get(RULES):
        # Only who has rules pays for the language that they are written in.
        from terway.lab.kubeapi.customresources.rules import validate_rules

        yield from validate_rules(schema, path)


def _pattern(schema: Schema, path: str) -> Iterator[Cause]:
    try:
        re.compile(schema.get("pattern", ""))
    except re.error as error:
        why = f"must be a valid regular expression, but isn't: {error}"
        yield invalid_value(f"{path}.pattern", schema["pattern"], why)


def _default(schema: Schema, path: str, *, is_root: bool) -> Iterator[Cause]:
    if "default" not in schema:
        return
    if is_root:
        yield forbidden_value(f"{path}.default", "must not be set at the root")
        return
    where, default = f"{path}.default", schema["default"]
    if any(True for _ in unknown_fields(default, schema)):
        yield invalid_value(where, default, "must not have unknown fields")
    yield from validate_structure(fill(default, schema), schema, where)


def _junctors(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name in _JUNCTORS:
        for index, inner in enumerate(schema.get(name) or ()):
            yield f"{path}.{name}[{index}]", inner
    if schema.get("not"):
        yield f"{path}.not", schema["not"]


def _restriction(schema: Schema, path: str, *, has_int_or_string: bool = False) -> Iterator[Cause]:
    """Yield where a schema inside a junctor says more than a restriction may."""
    for name in _STRUCTURE:
        allowed = name == "type" and has_int_or_string
        if name in schema and not allowed and schema[name] not in (None, "", False):
            yield forbidden_value(f"{path}.{name}", "must be empty to be structural")
    inner: dict[str, Any] = schema.get("properties") or {}
    for name, held in inner.items():
        yield from _restriction(held, f"{path}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        yield from _restriction(schema["items"], f"{path}.items")
    for where, held in _junctors(schema, path):
        yield from _restriction(held, where)
