"""Does an object of a custom resource fit its CRD's schema?

A CRD's OpenAPI v3 schema, and that of the built-in policies, which is one as well. Fields that a
schema does not know are none of its business: whether they are pruned is (`customresources`).
Source: Kubernetes docs "Custom resources: specifying a structural schema"; k8s.io/apiextensions
pkg/apiserver/validation and k8s.io/kube-openapi pkg/validation for the words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from terway.lab.kubeapi.causes import invalid_value, not_supported, required
from terway.lab.kubeapi.customresources.words import INT_OR_STRING, LIST_KEYS, LIST_TYPE, Schema
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.formats import fits_format
from terway.lab.kubeapi.networkpolicy import read_cidr, validate_selector


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and value == int(value)


_IS_TYPE: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_number,
    "integer": _is_integer,
}
_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
_JSON_NAMES = ("boolean", "integer", "number", "string", "array", "object")


def json_type(value: Any) -> str:
    """Return the name that messages give to a value's type."""
    return next((name for name in _JSON_NAMES if _IS_TYPE[name](value)), "null")


_NOTHING = object()  # what no value equals


def is_unchanged(value: Any, old: Any) -> bool:
    """Say whether both are the same JSON: true is not 1."""
    if type(value) is not type(old):
        return False
    if isinstance(value, dict):
        return value.keys() == old.keys() and all(is_unchanged(value[k], old[k]) for k in value)
    if isinstance(value, list):
        return len(value) == len(old) and all(map(is_unchanged, value, old))
    return bool(value == old)


def validate_structure(
    value: Any, schema: Schema, path: str, old: Any = _NOTHING
) -> Iterator[Cause]:
    """Yield where `value` does not fit `schema`, except where it is what it was in `old`.

    So an object that a stricter schema would refuse can be written elsewhere: KEP-4008, CRD
    validation ratcheting. Items of a list are found again by the keys of a list of type map.
    The formats `policy-cidr` and `selector` are ours, for the built-in policies.
    """
    if (value is None and schema.get("nullable")) or is_unchanged(value, old):
        return
    if wrong := _type_trouble(value, schema, path):
        yield wrong
        return
    yield from _choices(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path, old)
    elif isinstance(value, list):
        yield from _array(value, schema, path, old)
    elif isinstance(value, str):
        yield from _string(value, schema, path)
    elif _is_number(value):
        yield from _number(value, schema, path)
    if any(junctor in schema for junctor in _JUNCTORS):
        yield from _alternatives(value, schema, path)


def _type_trouble(value: Any, schema: Schema, path: str) -> Cause | None:
    kind = schema.get("type", "")
    kinds = ("integer", "string") if schema.get(INT_OR_STRING) else (kind,)
    if not kinds[0] or any(_IS_TYPE[one](value) for one in kinds):
        return None
    got = json_type(value)
    where = f"{path} in body" if path else "body"
    text = f'Invalid value: "{got}": {where} must be of type {",".join(kinds)}: "{got}"'
    return Cause(field=path, reason="FieldValueTypeInvalid", message=text)


def _choices(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    choices = schema.get("enum")
    if choices is None or any(
        value == one and json_type(value) == json_type(one) for one in choices
    ):
        return
    if all(isinstance(one, str) for one in (value, *choices)):
        yield not_supported(path, value, tuple(choices))
        return
    shown = ", ".join(json.dumps(one) for one in choices)
    message = f"Unsupported value: {json.dumps(value)}: supported values: {shown}"
    yield Cause(field=path, reason="FieldValueNotSupported", message=message)


def _object(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Iterator[Cause]:
    if schema.get("format") == "selector":
        yield from validate_selector(value, path)
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield required(_join(path, name))
    shown = "object"
    if len(value) < schema.get("minProperties", 0):
        why = f"{path} in body should have at least {schema['minProperties']} properties"
        yield invalid_value(path, shown, why)
    if len(value) > schema.get("maxProperties", len(value)):
        why = f"{path} in body should have at most {schema['maxProperties']} properties"
        yield invalid_value(path, shown, why)
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name, held in value.items():
        inner = properties.get(name, others)
        if isinstance(inner, dict):
            yield from validate_structure(
                held, inner, _join(path, name), before.get(name, _NOTHING)
            )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _array(value: list[Any], schema: Schema, path: str, old: Any) -> Iterator[Cause]:
    if len(value) < schema.get("minItems", 0):
        why = f"{path} in body should have at least {schema['minItems']} items"
        yield invalid_value(path, len(value), why)
    if len(value) > schema.get("maxItems", len(value)):
        message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Cause(field=path, reason="FieldValueTooMany", message=message)
    before = _by_key(old, schema)
    for index, item in enumerate(value):
        held = before.get(_key(item, schema), _NOTHING) if before else _NOTHING
        yield from validate_structure(item, schema.get("items", {}), f"{path}[{index}]", held)
    yield from _duplicates(value, schema, path)


def _by_key(items: Any, schema: Schema) -> dict[str, Any]:
    """Return the items of a list of type map by their keys; none for other lists."""
    if schema.get(LIST_TYPE) != "map" or not isinstance(items, list):
        return {}
    return {_key(item, schema): item for item in items}


def _key(item: Any, schema: Schema) -> str:
    """Return what tells an item of a set or map from others."""
    told = item
    if schema.get(LIST_TYPE) == "map" and isinstance(item, dict):
        told = {key: item[key] for key in schema.get(LIST_KEYS, ()) if key in item}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    kind = schema.get(LIST_TYPE)
    if kind not in ("set", "map"):
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        shown = _key(item, schema)
        if shown in seen:
            message = f"Duplicate value: {shown}"
            field = f"{path}[{index}]"
            yield Cause(field=field, reason="FieldValueDuplicate", message=message)
        seen.add(shown)


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    limit = schema.get("maxLength")
    if limit is not None and len(value) > limit:
        message = f"Too long: may not be more than {limit} bytes"
        yield Cause(field=path, reason="FieldValueTooLong", message=message)
    least = schema.get("minLength", 0)
    if len(value) < least:
        yield invalid_value(path, value, f"{path} in body should be at least {least} chars long")
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(pattern, value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    name = schema.get("format", "")
    if name == "policy-cidr":
        if read_cidr(value) is None:
            yield invalid_value(path, value, "Invalid CIDR format provided")
    elif not fits_format(value, name):
        yield invalid_value(path, value, f'{path} in body must be of type {name}: "{value}"')


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        bound = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {least}")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        bound = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {most}")
    factor = schema.get("multipleOf")
    if factor and value % factor:
        yield invalid_value(path, value, f"{path} in body should be a multiple of {factor}")


def _alternatives(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    """Yield what the logical junctors refuse; they say nothing of what is kept."""

    def fitting(junctor: str) -> int:
        return sum(not any(validate_structure(value, one, path)) for one in schema[junctor])

    if "allOf" in schema:
        for one in schema["allOf"]:
            yield from validate_structure(value, one, path)
        if fitting("allOf") < len(schema["allOf"]):
            yield _junctor(path, "must validate all the schemas (allOf)")
    if "anyOf" in schema and not fitting("anyOf"):
        yield _junctor(path, "must validate at least one schema (anyOf)")
    if "oneOf" in schema and (count := fitting("oneOf")) != 1:
        found = f"Found {count} valid alternatives" if count else "Found none valid"
        yield _junctor(path, f"must validate one and only one schema (oneOf). {found}")
    if "not" in schema and not any(validate_structure(value, schema["not"], path)):
        yield _junctor(path, "must not validate the schema (not)")


def _junctor(path: str, why: str) -> Cause:
    return invalid_value(path or "<nil>", "", f'"{path}" {why}')
