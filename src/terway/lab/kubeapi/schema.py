"""Which fields does a kind have, and how do lists in it merge?

schema.json has one line a type: field -> type, where ``[]T`` is a list and ``{}T`` a map. After a
list's type come the keys by which its items are told apart (``[]Container name``; the first is
the strategic merge key, all are the keys of server-side apply) or ``set``. No keys: the list is
one value. Source: Kubernetes API v1.3x, fields as the official Python client lists them, keys as
the patchMergeKey and listMapKey tags of k8s.io/api.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_SCALARS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_GO_NAMES = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """The type of one field. `item` is the element's type for lists and maps."""

    name: str  # "string", "any", "[]", "{}", or a type of the schema
    item: FieldType | None = None
    keys: tuple[str, ...] = ()
    is_set: bool = False


ANY = FieldType(name="any")


@cache
def _types() -> dict[str, dict[str, str]]:
    text = (files("terway.lab.kubeapi") / "schema.json").read_text()
    types: dict[str, dict[str, str]] = json.loads(text)
    return types


@cache
def _parse(text: str) -> FieldType:
    text, _, keys = text.partition(" ")
    if text[:2] in ("[]", "{}"):
        is_set = keys == "set"
        return FieldType(
            name=text[:2],
            item=_parse(text[2:]),
            keys=tuple(keys.split(",")) if keys and not is_set else (),
            is_set=is_set,
        )
    return FieldType(name=text)


def type_named(name: str) -> FieldType:
    """Return the type of a kind; ANY for one that the schema does not know (a custom resource)."""
    return FieldType(name=name) if name in _types() else ANY


def is_struct(type_: FieldType) -> bool:
    """Say whether the type has declared fields."""
    return type_.name in _types()


def field_type(type_: FieldType, field: str) -> FieldType | None:
    """Return the type of a field of an object or map; None where there is no such field."""
    if type_.name == "{}":
        return type_.item
    fields = _types().get(type_.name)
    if fields is None:
        return ANY
    return _parse(fields[field]) if field in fields else None


def item_type(type_: FieldType) -> FieldType:
    """Return the type of a list's items."""
    return type_.item or ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Where an object does not fit its schema."""

    path: str
    message: str
    is_unknown: bool  # only an unknown field: dropped unless the client asked for strictness


def check_object(value: Any, type_: FieldType, path: str = "") -> Iterator[Mismatch]:
    """Yield where `value` does not fit `type_`: unknown fields, and values of the wrong type."""
    if value is None or type_.name == "any":
        return
    if type_.name == "[]":
        yield from _check_list(value, type_, path)
    elif type_.name == "{}" or is_struct(type_):
        yield from _check_mapping(value, type_, path)
    elif not isinstance(value, _SCALARS[type_.name]) or _is_misplaced_bool(value, type_):
        got = _json_name(value)
        text = f"cannot unmarshal {got} into Go struct field {path} of type {_go_name(type_)}"
        yield Mismatch(path=path, message=text, is_unknown=False)


def _is_misplaced_bool(value: Any, type_: FieldType) -> bool:
    return isinstance(value, bool) and type_.name != "boolean"


def _check_list(value: Any, type_: FieldType, path: str) -> Iterator[Mismatch]:
    if not isinstance(value, list):
        text = f"cannot unmarshal {_json_name(value)} into Go struct field {path} of type []"
        yield Mismatch(path=path, message=text, is_unknown=False)
        return
    for index, item in enumerate(value):
        yield from check_object(item, item_type(type_), f"{path}[{index}]")


def _check_mapping(value: Any, type_: FieldType, path: str) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        name = "map" if type_.name == "{}" else type_.name
        text = f"cannot unmarshal {_json_name(value)} into Go struct field {path} of type {name}"
        yield Mismatch(path=path, message=text, is_unknown=False)
        return
    for field, held in value.items():
        inner = f"{path}.{field}" if path else field
        found = field_type(type_, field)
        if found is None:
            yield Mismatch(path=inner, message=f'unknown field "{inner}"', is_unknown=True)
        elif not _is_quantity_map(path):
            yield from check_object(held, found, inner)


def _is_quantity_map(path: str) -> bool:
    # A quantity may be written as a number: `cpu: 1`.
    return path.endswith((".limits", ".requests", ".capacity", ".allocatable", ".hard"))


def _json_name(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: tuple[tuple[type, str], ...] = ((str, "string"), (dict, "object"), (list, "array"))
    return next((name for kind, name in names if isinstance(value, kind)), "number")


def _go_name(type_: FieldType) -> str:
    return _GO_NAMES.get(type_.name, type_.name)


def prune_unknown(value: Any, type_: FieldType) -> Any:
    """Return `value` without the fields that its type does not have, and without nulls."""
    if isinstance(value, list):
        return [prune_unknown(item, item_type(type_)) for item in value]
    if not isinstance(value, dict) or type_.name == "any":
        return value
    pruned = {}
    for field, held in value.items():
        found = field_type(type_, field)
        if found is not None and held is not None:
            pruned[field] = prune_unknown(held, found)
    return pruned


def declared_fields(name: str) -> dict[str, FieldType] | None:
    """Return the fields of a type by name, None for a type that is not in the schema."""
    fields = _types().get(name)
    return None if fields is None else {field: _parse(text) for field, text in fields.items()}
