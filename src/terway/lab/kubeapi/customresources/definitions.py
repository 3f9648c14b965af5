"""What is a CustomResourceDefinition to the server: its defaults, its rules, its status?

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1/defaults.go and
pkg/apis/apiextensions/validation; pkg/controller/status and finalizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.customresources.jsonpath import JsonPathError, compile_path
from terway.lab.kubeapi.customresources.schemas import validate_schema
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    metadata,
    name_of,
    read_path,
    replace_in,
    with_condition,
)

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_ONE_STORAGE = "must have exactly one version marked as storage version"


def definition_defaults(definition: Object) -> Object:
    """Return the CRD with the names, strategy and finalizer that it has by default."""
    spec = definition.get("spec") or {}
    given = spec.get("names") or {}
    kind = str(given.get("kind", ""))
    own = {"singular": kind.lower(), "listKind": f"{kind}List" if kind else ""}
    own = {name: held for name, held in own.items() if held and not given.get(name)}
    conversion = spec.get("conversion") or {"strategy": "None"}
    return {**definition, "spec": {**spec, "names": {**given, **own}, "conversion": conversion}}


def validate_definition(definition: Object) -> Iterator[Cause]:
    """Yield what is wrong with a CRD."""
    spec = definition["spec"]
    group, given = spec.get("group", ""), spec["names"]
    if name_of(definition) != f"{given.get('plural', '')}.{group}":
        why = 'must be spec.names.plural+"."+spec.group'
        yield invalid_value("metadata.name", name_of(definition), why)
    if not group:
        yield required("spec.group")
    elif not names.is_dns_subdomain(group) or "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")
    scopes = ("Cluster", "Namespaced")
    if not spec.get("scope"):
        yield required("spec.scope")
    elif spec["scope"] not in scopes:
        yield not_supported("spec.scope", spec["scope"], scopes)
    yield from _names(given)
    if spec.get("preserveUnknownFields"):
        why = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        yield invalid_value("spec.preserveUnknownFields", "true", why)
    if spec["conversion"].get("strategy") != "None":
        yield forbidden_value("spec.conversion.strategy", "this server converts with None only")
    yield from _versions(spec.get("versions") or [])


def _names(given: dict[str, Any]) -> Iterator[Cause]:
    for name in ("plural", "singular", "kind", "listKind"):
        held, field = str(given.get(name) or ""), f"spec.names.{name}"
        if not held:
            yield required(field)
        elif not names.is_dns_1035_label(held.lower()):
            yield invalid_value(field, held, names.LABEL_1035_MESSAGE)
    for name in ("shortNames", "categories"):
        for index, held in enumerate(given.get(name) or ()):
            if not names.is_dns_1035_label(held):
                yield invalid_value(f"spec.names.{name}[{index}]", held, names.LABEL_1035_MESSAGE)
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        why = "kind and listKind may not be the same"
        yield invalid_value("spec.names.listKind", given["listKind"], why)


def _versions(versions: list[dict[str, Any]]) -> Iterator[Cause]:
    if sum(bool(held.get("storage")) for held in versions) != 1:
        shown = [held.get("name", "") for held in versions]
        yield invalid_value("spec.versions", shown, _ONE_STORAGE)
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", str(version.get("name", ""))
        if not names.is_dns_1035_label(name):
            yield invalid_value(f"{path}.name", name, names.LABEL_1035_MESSAGE)
        elif name in seen:
            yield invalid_value("spec.versions", name, "must contain unique version names")
        seen.add(name)
        for field in ("served", "storage"):
            if field not in version:
                yield required(f"{path}.{field}")
        yield from _version_schema(version, path)
        yield from _columns(version.get("additionalPrinterColumns") or (), path)
        yield from _subresources(version.get("subresources") or {}, path)


def _version_schema(version: dict[str, Any], path: str) -> Iterator[Cause]:
    schema = read_path(version, "schema.openAPIV3Schema")
    where = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        yield required(where, "schemas are required")
        return
    if schema.get("type") != "object":
        yield invalid_value(f"{where}.type", schema.get("type", ""), "must be object at the root")
        return
    yield from validate_schema(schema, where)


def _columns(columns: Iterable[dict[str, Any]], path: str) -> Iterator[Cause]:
    for index, column in enumerate(columns):
        where = f"{path}.additionalPrinterColumns[{index}]"
        for field in ("name", "type", "jsonPath"):
            if not column.get(field):
                yield required(f"{where}.{field}")
        kind = column.get("type", "string")
        if kind not in _COLUMN_TYPES:
            yield invalid_value(f"{where}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        yield from _path(column.get("jsonPath", ""), f"{where}.jsonPath")


def _path(text: str, where: str) -> Iterator[Cause]:
    try:
        compile_path(text)
    except JsonPathError as error:
        yield invalid_value(where, text, f"is an invalid JSONPath: {error}")


def _subresources(subresources: dict[str, Any], path: str) -> Iterator[Cause]:
    scale = subresources.get("scale")
    if scale is None:
        return
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        held, where = str(scale.get(field, "")), f"{path}.subresources.scale.{field}"
        if not held:
            yield required(where)
        elif not held.startswith(root):
            yield invalid_value(where, held, f"should be a json path under {root.rstrip('.')}")


def validate_definition_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what may not be changed of a CRD that is there."""
    for field in ("group", "scope", "names.plural", "names.kind"):
        before, after = read_path(old, f"spec.{field}"), read_path(new, f"spec.{field}")
        if before != after:
            yield invalid_value(f"spec.{field}", after, "field is immutable")
    there = {held["name"] for held in read_path(new, "spec.versions", ())}
    for index, stored in enumerate(read_path(old, "status.storedVersions", ())):
        if stored not in there:
            why = "missing from spec.versions; must be removed from spec.versions last"
            yield invalid_value(f"status.storedVersions[{index}]", stored, why)


def is_established(definition: Object) -> bool:
    """Say whether the kind is served."""
    return is_condition_true(definition, "Established")


def with_names(definition: Object, others: Iterable[Object], *, now: str) -> Object:
    """Return the CRD with its status: the names it has, unless one of `others` has them."""
    held = metadata(definition).get("finalizers") or []
    if CLEANUP not in held and not metadata(definition).get("deletionTimestamp"):
        definition = replace_in(definition, "metadata.finalizers", [*held, CLEANUP])
    spec = definition["spec"]
    clash = next(filter(None, (_clash(definition, one) for one in others)), "")
    conditions = read_path(definition, "status.conditions", [])
    for wanted in _conditions(clash):
        conditions = with_condition(conditions, wanted, now=now)
    stored = read_path(definition, "status.storedVersions", [])
    new = [one["name"] for one in spec["versions"] if one["storage"] and one["name"] not in stored]
    accepted = read_path(definition, "status.acceptedNames", {}) if clash else spec["names"]
    status = {
        "acceptedNames": accepted or {"kind": "", "plural": ""},
        "conditions": conditions,
        "storedVersions": [*stored, *new],
    }
    return {**definition, "status": status}


def _clash(definition: Object, other: Object) -> str:
    """Return the name that both CRDs of one group want, empty where there is none."""
    mine, theirs = definition["spec"], other["spec"]
    if name_of(other) == name_of(definition) or mine["group"] != theirs["group"]:
        return ""
    accepted = read_path(other, "status.acceptedNames", {})
    paths = {accepted.get("plural"), accepted.get("singular"), *accepted.get("shortNames", ())}
    kinds = {accepted.get("kind"), accepted.get("listKind")}
    wanted = (mine["names"]["plural"], mine["names"]["singular"])
    for name in (*wanted, *(mine["names"].get("shortNames") or ())):
        if name in paths:
            return str(name)
    named = (mine["names"]["kind"], mine["names"]["listKind"])
    return next((str(name) for name in named if name in kinds), "")


def _conditions(clash: str) -> tuple[Object, Object]:
    if clash:
        why = f'"{clash}" is already in use'
        refused = {"status": "False", "reason": "NameConflict", "message": why}
        not_all = "not all names are accepted"
        waiting = {"status": "False", "reason": "NotAccepted", "message": not_all}
        return {"type": "NamesAccepted", **refused}, {"type": "Established", **waiting}
    fine = {"status": "True", "reason": "NoConflicts", "message": "no conflicts found"}
    told = "the initial names have been accepted"
    served = {"status": "True", "reason": "InitialNamesAccepted", "message": told}
    return {"type": "NamesAccepted", **fine}, {"type": "Established", **served}
