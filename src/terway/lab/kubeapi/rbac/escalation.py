"""Does somebody try to give what he does not have?

A role may be written, and bound, only by who has all of its rules himself, or may `escalate` or
`bind` that very role. Source: k8s.io/kubernetes pkg/registry/rbac/*/policybased/storage.go;
pkg/registry/rbac/validation/rule.go (ConfirmNoEscalation).
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.lab.kubeapi.errors import forbidden, not_found
from terway.lab.kubeapi.objects import Object, name_of, namespace_of
from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.authorizer import Authorizer
from terway.lab.kubeapi.rbac.grants import rules_of_role
from terway.lab.kubeapi.rbac.rules import (
    EVERY_URL,
    EVERYTHING,
    Rule,
    compact,
    quoted,
    uncovered,
)
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    ResourceDef,
)
from terway.lab.kubeapi.store import Key, Store


def check_escalation(
    store: Store, authorizer: Authorizer, user: Identity, resource: ResourceDef, obj: Object
) -> None:
    """Raise ApiError 403 when `user` may not write this role or binding; nothing for others."""
    if user.is_master:
        return
    if resource in (ROLE, CLUSTER_ROLE):
        key = Key(namespace_of(obj), name_of(obj))
        if not _may(authorizer, user, "escalate", resource, key):
            _check_covered(authorizer, user, resource, obj, _rules_given(obj))
    elif resource in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        role_kind, role_name = _role_of(obj)
        key = Key(namespace_of(obj), role_name)
        if not _may(authorizer, user, "bind", role_kind, key):
            rules = _rules_bound(store, role_kind, role_name, namespace_of(obj))
            _check_covered(authorizer, user, resource, obj, rules)


def _may(
    authorizer: Authorizer, user: Identity, verb: str, resource: ResourceDef, key: Key
) -> bool:
    asked = Attributes(
        verb=verb,
        group=resource.group,
        version=resource.version,
        resource=resource.plural,
        namespace=key.namespace,
        name=key.name,
    )
    return authorizer.grants.decide(user, asked).is_allowed


def _rules_given(role: Object) -> tuple[Rule, ...]:
    if role.get("aggregationRule"):
        return (EVERYTHING, EVERY_URL)  # whatever other roles come to say
    return rules_of_role(role)


def _role_of(binding: Object) -> tuple[ResourceDef, str]:
    reference = binding.get("roleRef") or {}
    kind = ROLE if reference.get("kind") == "Role" else CLUSTER_ROLE
    return kind, str(reference.get("name", ""))


def _rules_bound(store: Store, kind: ResourceDef, name: str, namespace: str) -> tuple[Rule, ...]:
    held = store.get(kind, Key(namespace if kind.namespaced else "", name))
    if held is None:
        raise not_found(kind, name)
    return rules_of_role(held.object)


def _check_covered(
    authorizer: Authorizer,
    user: Identity,
    resource: ResourceDef,
    obj: Object,
    wanted: Iterable[Rule],
) -> None:
    held = authorizer.grants.rules_of(user, namespace_of(obj))
    missing = uncovered(held, wanted)
    if missing:
        lines = "\n".join(sorted({rule.text() for rule in compact(missing)}))
        why = (
            f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC '
            f"permissions not currently held:\n{lines}"
        )
        raise forbidden(resource, name_of(obj), why)
