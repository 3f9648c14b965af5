"""Which fields does a kind have, and how do lists in it merge?

schema.json has one line a type: field -> type, where ``[]T`` is a list and ``{}T`` a map. After a
list's type come the keys by which its items are told apart (``[]Container name``; the first is
the strategic merge key, all are the keys of server-side apply, ``protocol=TCP`` with what it is
where an item does not say) or ``set``. No keys: the list is one value. Source: Kubernetes API
v1.3x, fields as the official Python client lists them, keys as the patchMergeKey and listMapKey
tags of k8s.io/api.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """The type of one field. `item` is the element's type for lists and maps."""

    name: str  # "[]", "{}", a type of the schema, or a scalar as `decoding` lists them
    item: FieldType | None = None
    keys: tuple[str, ...] = ()
    key_defaults: tuple[tuple[str, str], ...] = ()
    is_set: bool = False
    # Of a type that is not in schema.json, but in a CRD.
    fields: Mapping[str, FieldType] | None = field(default=None, compare=False)


ANY = FieldType(name="any")
ATOMIC = FieldType(name="atomic")  # a map that is one value


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
        pairs = [key.partition("=") for key in keys.split(",")] if keys and not is_set else []
        return FieldType(
            name=text[:2],
            item=_parse(text[2:]),
            keys=tuple(name for name, _, _ in pairs),
            key_defaults=tuple((name, default) for name, _, default in pairs if default),
            is_set=is_set,
        )
    return FieldType(name=text)


def type_named(name: str) -> FieldType:
    """Return the type of a kind; ANY for one that the schema does not know (a custom resource)."""
    return FieldType(name=name) if name in _types() else ANY


def is_struct(type_: FieldType) -> bool:
    """Say whether the type has declared fields."""
    return type_.fields is not None or type_.name in _types()


def field_type(type_: FieldType, name: str) -> FieldType | None:
    """Return the type of a field of an object or map; None where there is no such field."""
    if type_.name == "{}":
        return type_.item
    if type_.fields is not None:
        return type_.fields.get(name, ANY)
    fields = _types().get(type_.name)
    if fields is None:
        return ANY
    return _parse(fields[name]) if name in fields else None


def item_type(type_: FieldType) -> FieldType:
    """Return the type of a list's items."""
    return type_.item or ANY


def declared_fields(name: str) -> dict[str, FieldType] | None:
    """Return the fields of a type by name, None for a type that is not in the schema."""
    fields = _types().get(name)
    return None if fields is None else {one: _parse(text) for one, text in fields.items()}
