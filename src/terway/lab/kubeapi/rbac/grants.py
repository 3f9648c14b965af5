"""Which rules does a user have, and by which binding? A value made of roles and bindings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from terway.lab.kubeapi.objects import Object, name_of, namespace_of, read_path
from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.rules import EVERY_URL, EVERYTHING, Rule, parse_rule
from terway.lab.kubeapi.rbac.users import Identity, service_account


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one binding gives one subject. `namespace` is where, empty for everywhere."""

    namespace: str
    rules: tuple[Rule, ...]
    source: str  # as reasons have it
    trouble: str = ""  # the role that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """May he? `reason` is empty where no rule says anything."""

    is_allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RbacObjects:
    """The objects that grants are made of, as the API has them."""

    roles: Iterable[Object] = ()
    cluster_roles: Iterable[Object] = ()
    role_bindings: Iterable[Object] = ()
    cluster_role_bindings: Iterable[Object] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """All bindings of a cluster, by whom they are for: ("User" or "Group", name)."""

    by_subject: Mapping[tuple[str, str], tuple[Grant, ...]] = field(default_factory=dict)

    def of(self, user: Identity, namespace: str) -> Iterator[Grant]:
        """Yield what `user` has been granted that counts in a namespace (empty: cluster-wide)."""
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        for subject in subjects:
            for grant in self.by_subject.get(subject, ()):
                if grant.namespace in ("", namespace):
                    yield grant

    def decide(self, user: Identity, asked: Attributes) -> Decision:
        """Say whether a rule allows the user what is asked, and which."""
        if user.is_master:
            return Decision(is_allowed=True)
        troubles = []
        for grant in self.of(user, asked.namespace):
            if any(rule.allows(asked) for rule in grant.rules):
                return Decision(is_allowed=True, reason=f"RBAC: allowed by {grant.source}")
            if grant.trouble:
                troubles.append(grant.trouble)
        return Decision(is_allowed=False, reason=f"RBAC: {_joined(troubles)}" if troubles else "")

    def rules_of(self, user: Identity, namespace: str) -> tuple[Rule, ...]:
        """Return every rule that counts for the user in a namespace (empty: cluster-wide)."""
        if user.is_master:
            return (EVERYTHING, EVERY_URL)
        return tuple(rule for grant in self.of(user, namespace) for rule in grant.rules)


def _joined(errors: list[str]) -> str:
    once = list(dict.fromkeys(errors))
    return once[0] if len(once) == 1 else f"[{', '.join(once)}]"


def make_grants(held: RbacObjects) -> Grants:
    """Return what the bindings grant."""
    roles = {(namespace_of(one), name_of(one)): _rules(one) for one in held.roles}
    everywhere = {name_of(one): _rules(one) for one in held.cluster_roles}
    found: dict[tuple[str, str], list[Grant]] = {}
    for binding in (*held.cluster_role_bindings, *held.role_bindings):
        reference = binding.get("roleRef") or {}
        if reference.get("kind") == "Role":
            rules = roles.get((namespace_of(binding), reference.get("name", "")))
        else:
            rules = everywhere.get(reference.get("name", ""))
        for subject in binding.get("subjects") or ():
            grant = Grant(
                namespace=namespace_of(binding),
                rules=rules or (),
                source=_source(binding, subject),
                trouble="" if rules is not None else _missing(reference),
            )
            found.setdefault(_subject_key(subject, binding), []).append(grant)
    return Grants(by_subject={subject: tuple(grants) for subject, grants in found.items()})


def rules_of_role(role: Object) -> tuple[Rule, ...]:
    """Return the rules of a Role or ClusterRole."""
    return _rules(role)


def _rules(role: Object) -> tuple[Rule, ...]:
    return tuple(map(parse_rule, role.get("rules") or ()))


def _subject_key(subject: Mapping[str, Any], binding: Object) -> tuple[str, str]:
    kind, name = str(subject.get("kind", "")), str(subject.get("name", ""))
    if kind != "ServiceAccount":
        return kind, name
    namespace = subject.get("namespace") or namespace_of(binding)
    return "User", service_account(namespace, name).name


def _missing(reference: Mapping[str, Any]) -> str:
    kind = str(reference.get("kind", "")).lower()
    return f'{kind}.rbac.authorization.k8s.io "{reference.get("name", "")}" not found'


def _source(binding: Object, subject: Mapping[str, Any]) -> str:
    namespace = namespace_of(binding)
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    name = f"{name_of(binding)}/{namespace}" if namespace else name_of(binding)
    role = f'{read_path(binding, "roleRef.kind", "")} "{read_path(binding, "roleRef.name", "")}"'
    who = str(subject.get("name", ""))
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return f'{kind} "{name}" of {role} to {subject.get("kind", "")} "{who}"'
