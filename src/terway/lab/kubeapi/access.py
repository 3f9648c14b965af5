"""Who is asking? Bearer tokens, those of service accounts among them, and impersonation.

What somebody may do is another question: `rbac` answers it from roles and bindings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from terway.lab.kubeapi.errors import unauthorized
from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.authorizer import Authorizer
from terway.lab.kubeapi.rbac.users import (
    ADMIN,
    AUTHENTICATED,
    Identity,
    service_account,
    split_service_account,
)
from terway.lab.kubeapi.tokens import Tokens

__all__ = ("ADMIN", "OPEN", "Access", "Identity", "impersonated")

_IMPERSONATE = "Impersonate-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may use one listener. `anonymous` is who comes without a token, None for nobody."""

    tokens: Mapping[str, Identity] = field(default_factory=dict)
    anonymous: Identity | None = None

    def identify(self, authorization: str, accounts: Tokens | None = None) -> Identity:
        """Return who sends this Authorization header. ApiError 401 for a stranger.

        `accounts` reads the tokens of service accounts.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        known = None
        if scheme.lower() == "bearer":
            known = self.tokens.get(token) or (accounts.read(token) if accounts else None)
        elif not authorization:
            known = self.anonymous
        if known is None:
            raise unauthorized()
        return known


OPEN = Access(anonymous=ADMIN)  # for a unix socket or loopback: whoever gets there may do all


def impersonated(
    user: Identity, headers: Mapping[str, str], groups: tuple[str, ...], authorizer: Authorizer
) -> Identity:
    """Return who `user` wants to be for this request; himself without such headers.

    `groups` are the values of Impersonate-Group. ApiError 403 when he may not.
    Source: Kubernetes docs "User impersonation".
    """
    name = headers.get(f"{_IMPERSONATE}User", "")
    if not name:
        return user
    for asked in _asked(name, groups):
        authorizer.authorize(user, asked)
    account = split_service_account(name)
    if account and not groups:
        return service_account(*account)
    wanted = Identity(name=name, uid=headers.get(f"{_IMPERSONATE}Uid", ""))
    return replace(wanted, groups=tuple(dict.fromkeys((*groups, AUTHENTICATED))))


def _asked(name: str, groups: tuple[str, ...]) -> Iterator[Attributes]:
    account = split_service_account(name)
    if account:
        namespace, short = account
        yield Attributes(
            verb="impersonate",
            version="v1",
            resource="serviceaccounts",
            namespace=namespace,
            name=short,
        )
    else:
        yield Attributes(verb="impersonate", resource="users", name=name)
    for group in groups:
        yield Attributes(verb="impersonate", resource="groups", name=group)
