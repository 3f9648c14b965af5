"""Does an object fit the schema of its kind, and what is kept of it?

What passes here can be read without surprises: a time is a time, a quantity a quantity, and a
list has no holes. Source: the refusals of k8s.io/apimachinery's JSON decoding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from terway.kube.clock import parse_time
from terway.lab.kubeapi.quantities import parse_quantity
from terway.lab.kubeapi.schema import FieldType, field_type, is_struct, item_type

_JSON_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (str, "string"),
    (dict, "object"),
    (list, "array"),
)
_GO_NAMES = {"integer": "int64", "number": "float64", "boolean": "bool", "bytes": "[]uint8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Where an object does not fit its schema."""

    path: str
    message: str
    is_unknown: bool  # only an unknown field: dropped unless the client asked for strictness


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_time(value) is not None
    except (ValueError, OverflowError):
        return False


def _is_quantity(value: Any) -> bool:
    try:
        return (isinstance(value, str) or _is_number(value)) and parse_quantity(value) is not None
    except ValueError:
        return False


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except binascii.Error:
        return False


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "bytes": _is_base64,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_int,
    "number": _is_number,
    "intstr": lambda value: isinstance(value, str) or _is_int(value),
    "time": _is_time,
    "quantity": _is_quantity,
}


def check_object(value: Any, type_: FieldType, path: str = "") -> Iterator[Mismatch]:
    """Yield where `value` does not fit `type_`: unknown fields, and values of the wrong type."""
    if value is None or type_.name == "any":
        return
    if type_.name == "[]":
        yield from _check_list(value, type_, path)
    elif type_.name == "{}" or is_struct(type_):
        yield from _check_mapping(value, type_, path)
    elif not _SCALARS[type_.name](value):
        yield _wrong(value, _GO_NAMES.get(type_.name, type_.name), path)


def _wrong(value: Any, wanted: str, path: str) -> Mismatch:
    got = next((name for kind, name in _JSON_NAMES if isinstance(value, kind)), "number")
    shown = f' "{value}"' if isinstance(value, str) and wanted in ("time", "quantity") else ""
    text = f"cannot unmarshal {got}{shown} into Go struct field {path} of type {wanted}"
    return Mismatch(path=path, message=text, is_unknown=False)


def _check_list(value: Any, type_: FieldType, path: str) -> Iterator[Mismatch]:
    if not isinstance(value, list):
        yield _wrong(value, "[]", path)
        return
    for index, item in enumerate(value):
        inner = f"{path}[{index}]"
        if item is None:
            text = f"null is not allowed in the list at {inner}"
            yield Mismatch(path=inner, message=text, is_unknown=False)
        yield from check_object(item, item_type(type_), inner)


def _check_mapping(value: Any, type_: FieldType, path: str) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        yield _wrong(value, "map" if type_.name == "{}" else type_.name, path)
        return
    for field, held in value.items():
        inner = f"{path}.{field}" if path else str(field)
        found = field_type(type_, field)
        if found is None:
            yield Mismatch(path=inner, message=f'unknown field "{inner}"', is_unknown=True)
        else:
            yield from check_object(held, found, inner)


def normalize(value: Any, type_: FieldType) -> Any:
    """Return a checked value as it is stored: no unknown fields, no nulls, quantities as text."""
    if isinstance(value, list):
        return [normalize(item, item_type(type_)) for item in value]
    if type_.name == "quantity":
        return str(value)  # `cpu: 1` is a number to YAML
    if not isinstance(value, dict) or type_.name == "any":
        return value
    kept = {}
    for field, held in value.items():
        found = field_type(type_, field)
        if found is not None and held is not None:
            kept[field] = normalize(held, found)
    return kept
