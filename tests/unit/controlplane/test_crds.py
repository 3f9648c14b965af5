"""The CRDs that we install have every field that we read or write, and upstream's are all there."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from terway.controlplane.install import VERSION, read_definitions, version_of
from terway.kube.crds import (
    NETWORK_INTERFACES,
    NODE_RUNTIMES,
    POD_ENIS,
    POD_NETWORKINGS,
    POOL_NODES,
)
from terway.kube.policy_status import POLICY_NODE_STATUSES
from terway.kube.resource import Resource
from terway.kube.types import ObjectMeta

RESOURCES: tuple[Resource[Any], ...] = (
    NETWORK_INTERFACES,
    NODE_RUNTIMES,
    POD_ENIS,
    POD_NETWORKINGS,
    POOL_NODES,
    POLICY_NODE_STATUSES,
)
DEFINITIONS = {one["spec"]["names"]["kind"]: one for one in read_definitions()}
# Upstream's fields that we have no use for.
UNREAD = {
    f"NetworkInterface.spec.podENIRef.{name}"
    for name in ("apiVersion", "fieldPath", "resourceVersion")
}
UNREAD |= {"NodeRuntime.spec"}
# When this binary began to bring CRDs along, upstream's were at these.
UPSTREAM = {
    "PodENI": "v0.4.2",
    "PodNetworking": "v0.1.0",
    "Node": "v0.10.0",
    "NodeRuntime": "v0.1.0",
    "NetworkInterface": "v0.1.0",
}


def schema_paths(schema: dict[str, Any], path: str) -> dict[str, str]:
    found = {path: schema.get("type", "")}
    for name, inner in schema.get("properties", {}).items():
        found |= schema_paths(inner, f"{path}.{name}")
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(word), dict):
            found |= schema_paths(schema[word], f"{path}{mark}")
    return found


JSON_TYPES = {str: "string", int: "integer", bool: "boolean"}


def typed_paths(type_: Any, path: str) -> dict[str, str]:
    arguments = get_args(type_)
    if type(None) in arguments:
        return typed_paths(next(one for one in arguments if one is not type(None)), path)
    origin = getattr(type_, "__origin__", None)
    if origin is tuple:
        return {path: "array"} | typed_paths(arguments[0], f"{path}[]")
    if origin is dict:
        return {path: "object"} | typed_paths(arguments[1], f"{path}{{}}")
    if not issubclass(type_, msgspec.Struct):
        return {path: JSON_TYPES[type_]}
    found = {path: "object"}
    for field in msgspec.structs.fields(type_):
        if field.type is not ObjectMeta:
            found |= typed_paths(field.type, f"{path}.{field.encode_name}")
    return found


def schema_of(kind: str) -> dict[str, Any]:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one.kind)
def test_the_schema_and_our_types_are_of_one_mind(resource: Resource[Any]):
    typed = typed_paths(resource.read_as, resource.kind)

    declared = schema_paths(schema_of(resource.kind), resource.kind)

    general = {f"{resource.kind}.{name}" for name in ("apiVersion", "kind", "metadata")}
    assert {path: kind for path, kind in declared.items() if path not in general | UNREAD} == typed


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one.kind)
def test_the_definition_is_of_the_resource_that_we_ask_for(resource: Resource[Any]):
    spec = DEFINITIONS[resource.kind]["spec"]
    (version,) = spec["versions"]

    assert spec["group"] == resource.group
    assert spec["names"]["plural"] == resource.plural
    assert (spec["scope"] == "Namespaced") is resource.namespaced
    assert version["name"] == resource.version
    has_status = resource is not POLICY_NODE_STATUSES  # which nobody else writes
    assert version.get("subresources") == ({"status": {}} if has_status else None)


@pytest.mark.parametrize("kind", sorted(UPSTREAM))
def test_ours_replace_those_of_upstream(kind):
    """bug class 20: a field that the CRD of another version does not have is dropped silently."""
    theirs = {"metadata": {"annotations": {VERSION: UPSTREAM[kind]}}}

    assert version_of(DEFINITIONS[kind]) > version_of(theirs)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("v0.9.0", "v0.10.0"),
        ("v0.4.2", "v0.4.10"),
        ("v1.0.0-rc1", "v1.0.0"),
        ("", "v0.0.1"),
        ("latest", "v0.0.1"),
    ],
)
def test_versions_are_ordered_as_numbers(earlier, later):
    def marked(version):
        return {"metadata": {"annotations": {VERSION: version}}}

    assert version_of(marked(earlier)) < version_of(marked(later))


def test_a_definition_without_a_mark_is_before_all_others():
    assert version_of({"metadata": {}}) < version_of(
        {"metadata": {"annotations": {VERSION: "v0.0.0"}}}
    )


def test_every_schema_is_structural_and_says_what_it_is_for():
    for kind in DEFINITIONS:
        schema = schema_of(kind)
        assert schema["description"]
        assert all(schema_paths(schema, kind).values()), "each field has a type"


def test_a_network_interface_is_listed_as_upstream_lists_it():
    (version,) = DEFINITIONS["NetworkInterface"]["spec"]["versions"]
    assert [one["name"] for one in version["additionalPrinterColumns"]] == [
        "Phase",
        "InstanceID",
        "TrunkENIID",
        "NodeName",
        "PodNamespace",
        "PodName",
        "Type",
    ]
