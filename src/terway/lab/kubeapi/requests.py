"""What does a request ask for? The path and method, read as Kubernetes reads them.

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.lab.kubeapi.errors import method_not_allowed, unknown_path
from terway.lab.kubeapi.rbac.users import ANONYMOUS, Identity
from terway.lab.kubeapi.resources import NAMESPACE, ResourceDef, ResourceTable

_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_ON_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_ON_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request for a resource: verb, resource and whose."""

    verb: str
    resource: ResourceDef
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: Identity = ANONYMOUS


def parse_request(
    method: str, path: str, query: Mapping[str, str], table: ResourceTable
) -> ApiRequest:
    """Return what is asked for. ApiError 404 for a path that nothing lives under, 405 by method."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    resource = table.at(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise unknown_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if not _has_subresource(resource, subresource) or (
        name and _lacks_namespace(resource, namespace)
    ):
        raise unknown_path()
    verb = _verb(method, query, name=name, subresource=subresource)
    if not subresource and verb not in resource.verbs:
        raise method_not_allowed()
    return ApiRequest(
        verb=verb,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def _lacks_namespace(resource: ResourceDef, namespace: str) -> bool:
    return resource.namespaced and not namespace


def _has_subresource(resource: ResourceDef, subresource: str) -> bool:
    known = {"": True, "status": resource.has_status, "scale": resource.has_scale}
    if subresource in known:
        return known[subresource]
    if resource is NAMESPACE:
        return subresource == "finalize"
    return any(subresource == name for name, _, _ in resource.extra_subresources)


def _verb(method: str, query: Mapping[str, str], *, name: str, subresource: str) -> str:
    verb = (_ON_OBJECT if name else _ON_COLLECTION).get(method)
    if verb is None or (name and method == "POST" and not subresource):
        raise method_not_allowed()
    if verb == "list" and query.get("watch") in ("true", "1"):
        return "watch"
    return verb
