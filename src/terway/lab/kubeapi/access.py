"""Who is asking, and may they? Bearer tokens, and one distinction: readers and writers.

Roles and bindings are not evaluated: an identity either may do everything, or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.lab.kubeapi.errors import ApiError, forbidden, unauthorized
from terway.lab.kubeapi.requests import ApiRequest

_READS = ("get", "list", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user, as messages name it."""

    name: str
    is_read_only: bool = False


ADMIN = Identity(name="kubernetes-admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may use one listener. `anonymous` is who comes without a token, None for nobody."""

    tokens: Mapping[str, Identity] = field(default_factory=dict)
    anonymous: Identity | None = None

    def identify(self, authorization: str) -> Identity:
        """Return who sends this Authorization header. ApiError 401 for a stranger."""
        scheme, _, token = authorization.partition(" ")
        known = self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if known is None and not authorization:
            known = self.anonymous
        if known is None:
            raise unauthorized()
        return known


OPEN = Access(anonymous=ADMIN)  # for a unix socket or loopback: whoever gets there may do all


def authorize(identity: Identity, request: ApiRequest) -> None:
    """Raise ApiError 403 when `identity` may not do that."""
    if identity.is_read_only and request.verb not in _READS:
        raise _refusal(identity, request)


def _refusal(identity: Identity, request: ApiRequest) -> ApiError:
    resource = request.resource
    where = (
        f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
    )
    why = (
        f'User "{identity.name}" cannot {request.verb} resource "{resource.plural}" '
        f'in API group "{resource.group}" {where}'
    )
    return forbidden(resource, request.name, why)
