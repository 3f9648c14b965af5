"""Who is somebody, to the rules? A name and groups, as authentication found them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MASTERS = "system:masters"  # may do everything, whatever the roles say
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user. `extra` is what else the way in knows, such as the pod that a token is bound to."""

    name: str
    groups: tuple[str, ...] = (AUTHENTICATED,)
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        """Say whether no rule is asked about this user."""
        return MASTERS in self.groups


ANONYMOUS = Identity(name="system:anonymous", groups=(UNAUTHENTICATED,))
ADMIN = Identity(name="kubernetes-admin", groups=(MASTERS, AUTHENTICATED))


def service_account(
    namespace: str, name: str, *, uid: str = "", extra: Mapping[str, tuple[str, ...]] | None = None
) -> Identity:
    """Return who a pod is, or whoever else has a token of the service account."""
    return Identity(
        name=f"{_SERVICE_ACCOUNT}{namespace}:{name}",
        groups=(SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED),
        uid=uid,
        extra=extra or {},
    )


def split_service_account(user: str) -> tuple[str, str] | None:
    """Return namespace and name of the service account that a user's name stands for, or None."""
    if not user.startswith(_SERVICE_ACCOUNT):
        return None
    namespace, _, name = user.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return (namespace, name) if namespace and name else None
