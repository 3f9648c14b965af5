"""Does an object of a custom resource fit its CRD's schema?

A CRD's OpenAPI v3 schema, as far as the kinds here use it. Fields that a schema does not know are
kept and count as properties, where a real server prunes them: so that what a newer API means by
them can be read, and refused, by whoever enforces it.
Source: Kubernetes docs "Custom resources: specifying a structural schema"; k8s.io/apiextensions
pkg/apiserver/validation for the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from terway.lab.kubeapi.causes import invalid_value, not_supported, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.networkpolicy import read_cidr, validate_selector

Schema = dict[str, Any]

_IS_TYPE: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def validate_structure(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    """Yield where `value` does not fit `schema`. The formats `cidr` and `selector` are ours."""
    kind = schema["type"]
    if not _IS_TYPE[kind](value):
        got = "null" if value is None else type(value).__name__
        text = f'Invalid value: "{got}": {path} in body must be of type {kind}: "{got}"'
        yield Cause(field=path, reason="FieldValueTypeInvalid", message=text)
        return
    match kind:
        case "object":
            yield from _object(value, schema, path)
        case "array":
            yield from _array(value, schema, path)
        case "string":
            yield from _string(value, schema, path)
        case _:
            yield from _integer(value, schema, path)


def _object(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    if schema.get("format") == "selector":
        yield from validate_selector(value, path)
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield required(f"{path}.{name}")
    shown = "object"
    if len(value) < schema.get("minProperties", 0):
        why = f"{path} in body should have at least {schema['minProperties']} properties"
        yield invalid_value(path, shown, why)
    if len(value) > schema.get("maxProperties", len(value)):
        why = f"{path} in body should have at most {schema['maxProperties']} properties"
        yield invalid_value(path, shown, why)
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            yield from validate_structure(value[name], inner, f"{path}.{name}")


def _array(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minItems", 0):
        why = f"{path} in body should have at least {schema['minItems']} items"
        yield invalid_value(path, len(value), why)
    if len(value) > schema.get("maxItems", len(value)):
        message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Cause(field=path, reason="FieldValueTooMany", message=message)
    for index, item in enumerate(value):
        yield from validate_structure(item, schema["items"], f"{path}[{index}]")


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        yield not_supported(path, value, tuple(choices))
    limit = schema.get("maxLength")
    if limit is not None and len(value) > limit:
        message = f"Too long: may not be more than {limit} bytes"
        yield Cause(field=path, reason="FieldValueTooLong", message=message)
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(pattern, value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    if schema.get("format") == "cidr" and read_cidr(value) is None:
        yield invalid_value(path, value, "Invalid CIDR format provided")


def _integer(value: int, schema: Schema, path: str) -> Iterator[Cause]:
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if value < least:
        why = f"{path} in body should be greater than or equal to {least}"
        yield invalid_value(path, value, why)
    if value > most:
        yield invalid_value(path, value, f"{path} in body should be less than or equal to {most}")
