"""Is this role or binding one that can be stored, and what is filled in?

Source: k8s.io/kubernetes pkg/apis/rbac/validation and pkg/apis/rbac/v1/defaults.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi.causes import invalid_value, not_supported, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object, namespace_of

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def path_segment_fault(name: str) -> str:
    """Return why a name cannot be a part of a path, empty when it can.

    Roles are called like this: ``system:node``.
    """
    if name in (".", ".."):
        return f"may not be '{name}'"
    return next((f"may not contain '{mark}'" for mark in "/%" if mark in name), "")


def validate_role(role: Object) -> Iterator[Cause]:
    """Yield what is wrong with a Role's or ClusterRole's rules."""
    for index, rule in enumerate(role.get("rules") or ()):
        yield from _rule(rule, f"rules[{index}]", namespaced=bool(namespace_of(role)))


def _rule(rule: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    urls, has_resources = (
        rule.get("nonResourceURLs"),
        rule.get("apiGroups") or rule.get("resources"),
    )
    if urls:
        if namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", _shown(urls), why)
        if has_resources or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", _shown(urls), why)
        return
    if not rule.get("apiGroups"):
        why = "resource rules must supply at least one api group"
        yield required(f"{path}.apiGroups", why)
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _shown(texts: list[str]) -> Any:
    return "[]string{" + ", ".join(f'"{text}"' for text in texts) + "}"


def validate_binding(binding: Object) -> Iterator[Cause]:
    """Yield what is wrong with a RoleBinding or ClusterRoleBinding."""
    reference = binding.get("roleRef") or {}
    if reference.get("apiGroup") != GROUP:
        yield not_supported("roleRef.apiGroup", str(reference.get("apiGroup", "")), (GROUP,))
    kinds = ("Role", "ClusterRole") if namespace_of(binding) else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        yield not_supported("roleRef.kind", str(reference.get("kind", "")), kinds)
    name = str(reference.get("name", ""))
    if not name:
        yield required("roleRef.name")
    elif fault := path_segment_fault(name):
        yield invalid_value("roleRef.name", name, fault)
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]", namespaced=bool(namespace_of(binding)))


def _subject(subject: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[Cause]:
    if not subject.get("name"):
        yield required(f"{path}.name")
    kind, group = subject.get("kind", ""), subject.get("apiGroup", "")
    if kind not in _SUBJECTS:
        yield not_supported(f"{path}.kind", str(kind), _SUBJECTS)
        return
    wanted = "" if kind == "ServiceAccount" else GROUP
    if group != wanted:
        yield not_supported(f"{path}.apiGroup", group, (wanted,))
    if kind == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        yield required(f"{path}.namespace")


def validate_binding_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what a change of a binding may not change."""
    if old.get("roleRef") != new.get("roleRef"):
        reference = new.get("roleRef") or {}
        shown = (
            f'rbac.RoleRef{{APIGroup:"{reference.get("apiGroup", "")}", '
            f'Kind:"{reference.get("kind", "")}", Name:"{reference.get("name", "")}"}}'
        )
        message = f"Invalid value: {shown}: cannot change roleRef"
        yield Cause(field="roleRef", reason="FieldValueInvalid", message=message)


def binding_defaults(binding: Object) -> Object:
    """Return a binding with the API groups and namespaces that it leaves out."""
    filled = {**binding, "roleRef": {"apiGroup": GROUP, **(binding.get("roleRef") or {})}}
    if binding.get("subjects"):
        filled["subjects"] = [_subject_defaults(one, binding) for one in binding["subjects"]]
    return filled


def _subject_defaults(subject: Mapping[str, Any], binding: Object) -> dict[str, Any]:
    if subject.get("kind") == "ServiceAccount":
        if namespace_of(binding):
            return {"namespace": namespace_of(binding), **subject}
        return dict(subject)
    return {"apiGroup": GROUP, **subject}
