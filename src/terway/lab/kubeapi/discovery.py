"""What does the server say it can do? /api, /apis, /version, and the aggregated form.

Source: Kubernetes docs "API concepts: discovery API"; KEP-3352 for the aggregated documents.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef, ResourceTable

VERSION: Object = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0-terway",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_SUBRESOURCE_GROUPS = {
    "Eviction": {"group": "policy", "version": "v1"},
    "TokenRequest": {"group": "authentication.k8s.io", "version": "v1"},
}
_STATUS_VERBS = ("get", "patch", "update")


def _subresources(row: ResourceDef) -> Iterable[tuple[str, Object]]:
    own = {"kind": row.kind, "group": row.group, "version": row.version}
    if row.has_status:
        yield "status", {**own, "verbs": _STATUS_VERBS}
    if row.has_scale:
        scale = {"kind": "Scale", "group": "autoscaling", "version": "v1"}
        yield "scale", {**scale, "verbs": _STATUS_VERBS}
    for name, kind, verbs in row.extra_subresources:
        group = _SUBRESOURCE_GROUPS.get(kind, {})
        yield name, {**own, **group, "kind": kind, "verbs": verbs}


def core_versions() -> Object:
    """Return the document at /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(table: ResourceTable, name: str) -> Object:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for group, version in table.group_versions()
        if group == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _groups(table: ResourceTable) -> list[str]:
    return list(dict.fromkeys(group for group, _ in table.group_versions() if group))


def group_list(table: ResourceTable) -> Object:
    """Return the document at /apis."""
    groups = [_group(table, name) for name in _groups(table)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_document(table: ResourceTable, name: str) -> Object | None:
    """Return the document at /apis/<group>, None for an unknown one."""
    if name not in _groups(table):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(table, name)}


def resource_list(table: ResourceTable, group: str, version: str) -> Object | None:
    """Return the document at /api/v1 or /apis/<group>/<version>, None for an unknown one."""
    rows = table.in_group(group, version)
    if not rows:
        return None
    resources: list[Object] = []
    for row in rows:
        resources.append(_legacy(row))
        for name, sub in _subresources(row):
            entry = {"name": f"{row.plural}/{name}", "singularName": "", **sub}
            resources.append({**entry, "namespaced": row.namespaced})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _legacy(row: ResourceDef) -> Object:
    entry: Object = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": row.verbs,
    }
    if row.short_names:
        entry["shortNames"] = row.short_names
    if row.categories:
        entry["categories"] = row.categories
    return entry


def aggregated(table: ResourceTable, *, core: bool, version: str) -> Object:
    """Return the aggregated document at /api (`core`) or /apis, in version v2 or v2beta1."""
    names = [""] if core else _groups(table)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [_aggregated_group(table, name) for name in names],
    }


def _aggregated_group(table: ResourceTable, name: str) -> Object:
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_aggregated_row(row) for row in table.in_group(group, version)],
        }
        for group, version in table.group_versions()
        if group == name
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}


def _aggregated_row(row: ResourceDef) -> Object:
    legacy = _legacy(row)
    entry: Object = {
        "resource": row.plural,
        "responseKind": _kind(row.group, row.version, row.kind),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": row.verbs,
        "subresources": [
            {
                "subresource": name,
                "responseKind": _kind(sub["group"], sub["version"], sub["kind"]),
                "verbs": sub["verbs"],
            }
            for name, sub in _subresources(row)
        ],
    }
    kept = ("shortNames", "categories")
    return {**entry, **{field: legacy[field] for field in kept if field in legacy}}


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}
