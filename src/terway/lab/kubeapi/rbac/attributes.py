"""What does a request ask for, to the rules? Read from its path alone, known kind or not.

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.lab.kubeapi.rbac.users import Identity

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is asked: a verb on a resource, or, with a `path`, on a URL that is none."""

    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def combined(self) -> str:
        """Return the resource as rules spell it: ``pods/status``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """Return what an HTTP request asks for."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        return _resource(method, query, "", parts[1], parts[2:])
    if parts[:1] == ["apis"] and len(parts) > 3:
        return _resource(method, query, parts[1], parts[2], parts[3:])
    return Attributes(verb=method.lower(), path=path)


def _resource(
    method: str, query: Mapping[str, str], group: str, version: str, parts: list[str]
) -> Attributes:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    verb = _VERBS.get(method, "")
    if not name:
        verb = _of_collection(verb, query)
        name = _selected_name(query) if verb in ("list", "watch", "deletecollection") else ""
    return Attributes(
        verb=verb,
        group=group,
        version=version,
        resource=parts[0],
        subresource=parts[2] if len(parts) > 2 else "",
        namespace=namespace,
        name=name,
    )


def _of_collection(verb: str, query: Mapping[str, str]) -> str:
    if verb == "get":
        return "watch" if query.get("watch") in ("true", "1") else "list"
    return "deletecollection" if verb == "delete" else verb


def _selected_name(query: Mapping[str, str]) -> str:
    # So that resourceNames can allow to list and watch one object.
    for term in query.get("fieldSelector", "").split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name":
            return value.removeprefix("=")
    return ""


def refusal_text(user: Identity, asked: Attributes) -> str:
    """Return what is refused, in the words of apiserver's responsewriters.forbiddenMessage."""
    if asked.path:
        return f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.combined}" '
        f'in API group "{asked.group}" {where}'
    )
