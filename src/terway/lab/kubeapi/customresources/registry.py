"""Which kinds do the cluster's CustomResourceDefinitions make the server serve?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from terway.lab.kubeapi.customresources.definitions import is_established, with_names
from terway.lab.kubeapi.customresources.kind import CustomKind, ScalePaths, has_rules, kind_type
from terway.lab.kubeapi.customresources.words import ENVELOPE, Schema
from terway.lab.kubeapi.objects import Object, is_terminating, name_of
from terway.lab.kubeapi.resources import (
    CUSTOM_RESOURCE_DEFINITION,
    ResourceDef,
    ResourceTable,
)

if TYPE_CHECKING:
    from terway.lab.kubeapi.store import Change, Store

_VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")
_STAGES = {None: 2, "beta": 1, "alpha": 0}


def version_order(version: str) -> tuple[int, int, int, int, str]:
    """Order versions as clients should prefer them: v2, v1, v1beta2, v1alpha1, then others."""
    match = _VERSION.match(version)
    if match is None:
        return (1, 0, 0, 0, version)
    major, stage, minor = match.groups()
    return (0, -_STAGES[stage], -int(major), -int(minor or 0), version)


class Definitions:
    """Keeps the table of kinds as the CRDs in the store have it."""

    def __init__(self, store: Store, table: ResourceTable) -> None:
        self._store = store
        self._table = table
        # A kind's objects stay where they are when its CRD changes, or comes again.
        self._homes: dict[str, ResourceDef] = {}
        store.on_change(self._on_change)

    def accept(self, definition: Object, *, now: str) -> Object:
        """Return a CRD with what the server says about it: are its names free, is it served?"""
        others = [held.object for held in self._store.items(CUSTOM_RESOURCE_DEFINITION)]
        return with_names(definition, others, now=now)

    def _on_change(self, change: Change) -> None:
        if change.resource is not CUSTOM_RESOURCE_DEFINITION:
            return
        definition = change.new.object
        before = _served(change.old.object) if change.old else None
        after = None if change.is_deletion else _served(definition)
        if before == after:
            return  # objects keep the rows that they were written through
        rows = tuple(self._rows(definition)) if after is not None else ()
        self._table.serve(name_of(definition), rows)

    def _rows(self, definition: Object) -> Iterator[ResourceDef]:
        home = self._home(definition)
        versions = definition["spec"]["versions"]
        for version in sorted(versions, key=lambda held: version_order(held["name"])):
            if version["served"]:
                yield _row(definition, version, home)

    def _home(self, definition: Object) -> ResourceDef:
        spec, name = definition["spec"], name_of(definition)
        if name not in self._homes:
            plural = spec["names"]["plural"]
            same = (row for row in self._table.kinds if row.qualified == name)
            found = next(same, None)
            kind = spec["names"]["kind"]
            row = ResourceDef(group=spec["group"], version="", kind=kind, plural=plural)
            self._homes[name] = found.home if found else row
        return self._homes[name]


def _served(definition: Object) -> Object | None:
    """Return all of a CRD that the rows are made from, None where there are to be none."""
    if not is_established(definition):
        return None
    return {"spec": definition["spec"], "terminating": is_terminating(definition)}


def _row(definition: Object, version: Mapping[str, Any], home: ResourceDef) -> ResourceDef:
    spec = definition["spec"]
    names, subresources = spec["names"], version.get("subresources") or {}
    return ResourceDef(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        fields=tuple(_selectable(version)),
        has_status="status" in subresources,
        has_generation=True,
        has_scale="scale" in subresources,
        custom=_kind(definition, version, subresources),
        stored_as=home,
    )


def _selectable(version: Mapping[str, Any]) -> Iterator[str]:
    for held in version.get("selectableFields") or ():
        yield held["jsonPath"].removeprefix(".")


def _kind(
    definition: Object, version: Mapping[str, Any], subresources: Mapping[str, Any]
) -> CustomKind:
    spec = definition["spec"]
    schema = _without_envelope(version["schema"]["openAPIV3Schema"])
    return CustomKind(
        singular=spec["names"]["singular"],
        list_kind=spec["names"]["listKind"],
        schema=schema,
        type=kind_type(schema),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale=_scale(subresources.get("scale")),
        warning=_warning(spec, version),
        is_terminating=is_terminating(definition),
        has_rules=has_rules(schema),
    )


def _without_envelope(schema: Schema) -> Schema:
    """Return the schema without the fields that every object has."""
    properties = schema.get("properties") or {}
    kept = {name: held for name, held in properties.items() if name not in ENVELOPE}
    return {**schema, "properties": kept}


def _scale(paths: Mapping[str, str] | None) -> ScalePaths | None:
    if paths is None:
        return None
    return ScalePaths(
        replicas=paths["specReplicasPath"].removeprefix("."),
        status_replicas=paths["statusReplicasPath"].removeprefix("."),
        selector=paths.get("labelSelectorPath", "").removeprefix("."),
    )


def _warning(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    told = f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
    return str(version.get("deprecationWarning") or told)
