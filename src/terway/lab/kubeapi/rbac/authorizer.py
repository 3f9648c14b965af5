"""May this user do that, in the cluster as it is now?"""

from __future__ import annotations

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.rbac.attributes import Attributes, refusal_text
from terway.lab.kubeapi.rbac.audit import Audit
from terway.lab.kubeapi.rbac.grants import Grants, RbacObjects, make_grants
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    ResourceDef,
)
from terway.lab.kubeapi.store import Change, Store

_KINDS = (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)


class Authorizer:
    """Answers from the roles and bindings of a store, made anew only when one has changed.

    `audit` remembers what was asked.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grants: Grants | None = None
        self.audit = Audit()
        store.on_change(self._on_change)

    def _on_change(self, change: Change) -> None:
        if change.resource in _KINDS:
            self._grants = None

    @property
    def grants(self) -> Grants:
        """The grants as they are now."""
        if self._grants is None:
            self._grants = make_grants(
                RbacObjects(
                    roles=self._objects(ROLE),
                    cluster_roles=self._objects(CLUSTER_ROLE),
                    role_bindings=self._objects(ROLE_BINDING),
                    cluster_role_bindings=self._objects(CLUSTER_ROLE_BINDING),
                )
            )
        return self._grants

    def _objects(self, resource: ResourceDef) -> list[Object]:
        return [held.object for held in self._store.items(resource)]

    def authorize(self, user: Identity, asked: Attributes) -> None:
        """Raise ApiError 403 when `user` may not do what is asked."""
        decision = self.grants.decide(user, asked)
        self.audit.note(user, asked, allowed=decision.is_allowed)
        if not decision.is_allowed:
            raise refusal(user, asked, decision.reason)


def refusal(user: Identity, asked: Attributes, reason: str = "") -> ApiError:
    """Return the 403 that names user, verb, resource and place."""
    text = refusal_text(user, asked)
    why = f"{text}: {reason}" if reason else text
    if asked.path:
        return ApiError(403, "Forbidden", f"forbidden: {why}", details={})
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    subject = f'{qualified} "{asked.name}"' if asked.name else qualified
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    return ApiError(
        403,
        "Forbidden",
        f"{subject} is forbidden: {why}",
        details={key: value for key, value in details.items() if value},
    )
