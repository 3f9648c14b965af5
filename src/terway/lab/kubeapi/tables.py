"""How does an answer look as a Table, which is how kubectl asks for it?

Source: meta/v1 Table; Kubernetes docs "API concepts: receiving resources as tables".
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.kubeapi.columns import columns_of
from terway.lab.kubeapi.customresources.columns import custom_columns
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef


def make_table(
    resource: ResourceDef,
    objects: Iterable[Object],
    *,
    list_metadata: Object,
    now: float,
    version: str = "v1",
    include: str = "Metadata",
) -> Object:
    """Return the objects as a Table; `include` is Metadata, Object or None, for each row."""
    columns = custom_columns(resource) if resource.custom else columns_of(resource)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": list_metadata,
        "columnDefinitions": [column.definition() for column in columns],
        "rows": [
            {
                "cells": [column.cell(obj, now) for column in columns],
                **_row_object(obj, include, version),
            }
            for obj in objects
        ],
    }


def _row_object(obj: Object, include: str, version: str) -> Object:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    partial = {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }
    return {"object": partial}
