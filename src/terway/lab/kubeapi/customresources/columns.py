"""Which columns does `kubectl get` show of a custom kind?

Source: k8s.io/apiextensions-apiserver pkg/registry/customresource/tableconvertor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from terway.lab.kubeapi.cells import Cell, age_since
from terway.lab.kubeapi.columns import AGE, NAME, Column
from terway.lab.kubeapi.customresources.jsonpath import compile_path
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef

_CREATED = ".metadata.creationTimestamp"


@lru_cache(maxsize=256)
def custom_columns(resource: ResourceDef) -> tuple[Column, ...]:
    """Return the columns that the CRD names after the name, its age where it names none."""
    named = resource.custom.columns if resource.custom else ()
    return (NAME, *map(_column, named)) if named else (NAME, AGE)


def _column(held: Mapping[str, Any]) -> Column:
    kind, path = str(held["type"]), str(held["jsonPath"])
    return Column(
        name=held["name"],
        cell=_date(path) if kind == "date" else _cell(kind, path),
        is_wide=bool(held.get("priority", 0)),
        type=kind,
        format=held.get("format", ""),
        description=held.get("description", ""),
    )


def _date(path: str) -> Cell:
    find = compile_path(path)
    if path == _CREATED:
        return age_since(_CREATED[1:])

    def cell(obj: Object, now: float) -> Any:
        found = next(find(obj), None)
        return None if found is None else age_since("found")({"found": found}, now)

    return cell


def _cell(kind: str, path: str) -> Cell:
    find = compile_path(path)

    def cell(obj: Object, now: float) -> Any:
        found = next(find(obj), None)
        return found if found is None else _shown(kind, found)

    return cell


_FITS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _shown(kind: str, value: Any) -> Any:
    if kind != "string":
        return value if isinstance(value, _FITS[kind]) else None
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))
