"""A CustomResourceDefinition for tests, and objects of its kind: loaves of bread."""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION, ResourceDef
from terway.lab.kubeapi.state import ClusterState

GROUP = "bakery.example.com"

LOAF_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["flour"],
            "properties": {
                "flour": {"type": "string", "enum": ["rye", "wheat"]},
                "grams": {"type": "integer", "minimum": 100, "maximum": 5000, "default": 750},
                "note": {"type": "string", "nullable": True},
                "slices": {"type": "integer", "default": 1},
                "port": {"x-kubernetes-int-or-string": True},
                "oven": {
                    "type": "object",
                    "properties": {
                        "degrees": {"type": "integer", "default": 220},
                        "fan": {"type": "boolean"},
                    },
                },
                "toppings": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "grams": {"type": "integer"}},
                    },
                },
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {"phase": {"type": "string"}, "slices": {"type": "integer"}},
        },
    },
}


def version(name: str = "v1", *, storage: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": LOAF_SCHEMA},
        "subresources": {"status": {}},
        **fields,
    }


def definition(*versions: dict[str, Any], scope: str = "Namespaced", **names: Any) -> dict:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"loaves.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"plural": "loaves", "kind": "Loaf", "shortNames": ["lf"], **names},
            "versions": list(versions or (version(),)),
        },
    }


def loaf(name: str = "a", *, version: str = "v1", **spec: Any) -> dict:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "Loaf",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"flour": "rye", **spec},
    }


def serve(state: ClusterState, held: dict | None = None, version: str = "v1") -> ResourceDef:
    """Create the CRD and return the kind that the cluster has from then on."""
    state.create(CUSTOM_RESOURCE_DEFINITION, held or definition())
    return row_of(state, version)


def row_of(state: ClusterState, version: str = "v1") -> ResourceDef:
    """Return a version of the kind as the cluster has it now."""
    row = state.table.at(GROUP, version, "loaves")
    assert row is not None
    return row
