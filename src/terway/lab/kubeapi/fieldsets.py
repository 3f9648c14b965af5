"""Which fields does a manager own? Sets of paths, and their form on the wire (FieldsV1).

A path is a tuple of steps as FieldsV1 spells them: ``f:spec`` a field, ``k:{"name":"a"}`` the
item of a keyed list, ``v:"x"`` a value of a set. The path of a struct or item itself stands for
its existence (``.`` on the wire). Source: sigs.k8s.io/structured-merge-diff, fieldpath.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from terway.lab.kubeapi.schema import ANY, FieldType, field_type, is_struct, item_type

Path = tuple[str, ...]
FieldSet = frozenset[Path]

# What the server owns itself; nobody else does.
_SERVERS_OWN = frozenset(
    ("f:metadata", f"f:{field}")
    for field in (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "managedFields",
    )
)

# A key that is left out counts as its default, or what is applied again would be another item.
_KEY_DEFAULTS = {"protocol": "TCP"}


def fields_of(obj: dict[str, Any], type_: FieldType) -> FieldSet:
    """Return the paths of all fields that `obj` sets, without those that the server owns."""
    found = set()
    for path in _walk(obj, type_, ()):
        if path[:2] not in _SERVERS_OWN and path not in (
            ("f:apiVersion",),
            ("f:kind",),
            ("f:metadata",),
        ):
            found.add(path)
    return frozenset(found)


def _walk(value: Any, type_: FieldType, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value and _is_granular(type_):
        if path:
            yield path
        for field, held in value.items():
            yield from _walk(held, field_type(type_, field) or ANY, (*path, f"f:{field}"))
    elif isinstance(value, list) and (type_.keys or type_.is_set):
        yield path
        for item in value:
            yield from _walk(item, item_type(type_), (*path, step_of(item, type_)))
    elif path:
        yield path


def _is_granular(type_: FieldType) -> bool:
    return type_.name in ("{}", "any") or is_struct(type_)


def step_of(item: Any, type_: FieldType) -> str:
    """Return the step to an item of a keyed list or set."""
    if type_.is_set:
        return "v:" + _compact(item)
    named = {**dict(type_.key_defaults), **item}
    return "k:" + _compact({key: named[key] for key in type_.keys if key in named})


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def to_wire(fields: FieldSet) -> dict[str, Any]:
    """Return a field set as FieldsV1."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        holder = root
        for step in path:
            holder = holder.setdefault(step, {})
    for path in fields:
        node = _node(root, path)
        if node:
            node["."] = {}
    return root


def _node(root: dict[str, Any], path: Path) -> dict[str, Any]:
    for step in path:
        root = root[step]
    return root


def from_wire(wire: dict[str, Any]) -> FieldSet:
    """Return the field set that FieldsV1 describes."""
    return frozenset(_read(wire, ()))


def _read(wire: dict[str, Any], path: Path) -> Iterator[Path]:
    children = [step for step in wire if step != "."]
    if path and ("." in wire or not children):
        yield path
    for step in children:
        yield from _read(wire[step], (*path, step))


def leaves(fields: Iterable[Path]) -> FieldSet:
    """Return the paths that no other path goes through: where values are, not containers."""
    fields = set(fields)
    inner = {path[:length] for path in fields for length in range(1, len(path))}
    return frozenset(fields - inner)


_MISSING = object()


def value_at(value: Any, path: Path, type_: FieldType) -> Any:
    """Return what `path` leads to in an object, or a sentinel that equals nothing else."""
    for step in path:
        kind, name = step[:2], step[2:]
        if kind == "f:":
            if not isinstance(value, dict) or name not in value:
                return _MISSING
            type_, value = field_type(type_, name) or ANY, value[name]
            continue
        items = value if isinstance(value, list) else []
        found = next((item for item in items if step_of(item, type_) == step), _MISSING)
        if found is _MISSING:
            return _MISSING
        type_, value = item_type(type_), found
    return value


def is_same(first: Any, second: Any, path: Path, type_: FieldType) -> bool:
    """Say whether both objects have the same at `path` (both nothing counts)."""
    return bool(value_at(first, path, type_) == value_at(second, path, type_))


def remove_at(value: Any, path: Path, type_: FieldType) -> Any:
    """Return the object without what `path` leads to; containers that it leaves empty go, too."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(value, dict) or name not in value:
            return value
        inner = remove_at(value[name], rest, field_type(type_, name) or ANY) if rest else None
        others = {field: held for field, held in value.items() if field != name}
        return {**value, name: inner} if rest and inner not in ({}, []) else others
    if not isinstance(value, list):
        return value
    return [
        remove_at(item, rest, item_type(type_)) if step_of(item, type_) == step else item
        for item in value
        if rest or step_of(item, type_) != step
    ]
