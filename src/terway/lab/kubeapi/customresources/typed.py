"""As what do a custom object's fields come before its rules? As its schema says, not as JSON does.

Source: Kubernetes docs "CustomResourceDefinition validation rules: type system integration".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terway.lab.kubeapi.cel.functions import duration, timestamp
from terway.lab.kubeapi.cel.values import EvaluationError
from terway.lab.kubeapi.customresources.words import EMBEDDED, ENVELOPE, PRESERVE, Schema

_FORMATS: dict[str, Callable[[str], Any]] = {"date-time": timestamp, "duration": duration}
_NAMED = ("name", "generateName")  # all of the metadata that rules see


def typed(value: Any, schema: Schema, *, is_root: bool = False) -> Any:
    """Return a value as rules see it: numbers as double, moments and durations as themselves."""
    if isinstance(value, dict):
        return _fields(value, schema, is_root=is_root or bool(schema.get(EMBEDDED)))
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [typed(one, items) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number":
        return float(value)
    read = _FORMATS.get(schema.get("format", "")) if isinstance(value, str) else None
    if read is None:
        return value
    try:
        return read(value)
    except EvaluationError:
        return value  # its format is refused elsewhere


def _fields(value: dict[str, Any], schema: Schema, *, is_root: bool) -> dict[str, Any]:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    made: dict[str, Any] = {}
    for name, held in value.items():
        inner = properties.get(name, others)
        if isinstance(inner, dict):
            made[name] = typed(held, inner)
        elif is_root and name in ENVELOPE:
            is_named = name == "metadata" and isinstance(held, dict)
            made[name] = {one: held[one] for one in _NAMED if one in held} if is_named else held
        elif not schema.get(PRESERVE):
            made[name] = held  # what is kept without a schema is nothing that rules see
    return made
