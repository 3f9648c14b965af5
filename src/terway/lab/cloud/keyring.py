"""Who may call what? RAM users and roles, their access keys, and the temporary keys of STS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from terway.lab.cloud.ids import IdSource
from terway.lab.cloud.refusal import Refusal, not_found

ROLE_KEYS_LIFE_S = 6 * 3600.0  # of the keys that the metadata service hands out
ROLE_KEYS_RENEW_S = 1800.0  # the service renews them this long before they expire


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A RAM user or role. `allow` are patterns: ``"ecs:Describe*"``, ``"*"``."""

    arn: str
    allow: tuple[str, ...] = ("*",)

    def may(self, product: str, action: str) -> bool:
        """Return whether it may call the action."""
        return any(fnmatchcase(f"{product}:{action}", pattern) for pattern in self.allow)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key of a principal; a temporary one has a security token and an end."""

    id: str
    secret: str
    principal: Principal
    security_token: str = ""
    expires_at: float | None = None


class Keyring:
    """All keys of the account."""

    def __init__(self, ids: IdSource, *, clock: Callable[[], float], account_id: str) -> None:
        self._ids = ids
        self._clock = clock
        self._account_id = account_id
        self._keys: dict[str, AccessKey] = {}
        self._roles: dict[str, Principal] = {}
        self._role_keys: dict[str, AccessKey] = {}

    def create_key(self, name: str, *, allow: tuple[str, ...] = ("*",)) -> AccessKey:
        """Make a permanent key for a new RAM user `name`."""
        principal = Principal(arn=f"acs:ram::{self._account_id}:user/{name}", allow=allow)
        return self._add("LTAI", principal)

    def create_role(self, name: str, *, allow: tuple[str, ...] = ("*",)) -> str:
        """Make, or change, a role; return its ARN."""
        principal = Principal(arn=f"acs:ram::{self._account_id}:role/{name}", allow=allow)
        self._roles[name] = principal
        self._role_keys.pop(name, None)
        return principal.arn

    def revoke(self, key_id: str) -> None:
        """Make a key unknown to the cloud."""
        self._keys.pop(key_id, None)

    def find(self, key_id: str) -> AccessKey | None:
        """Return a key, expired or not, or None."""
        return self._keys.get(key_id)

    def assume(self, role: str, *, life_s: float) -> AccessKey:
        """Make temporary keys of a role. Raises Refusal."""
        if role not in self._roles:
            raise not_found("Role", role)
        return self._add("STS.", self._roles[role], expires_at=self._clock() + life_s)

    def role_keys(self, role: str) -> AccessKey | None:
        """Return the keys that the metadata service hands out for a role now, None for no role."""
        if role not in self._roles:
            return None
        held = self._role_keys.get(role)
        if held is None or (held.expires_at or 0.0) - self._clock() < ROLE_KEYS_RENEW_S:
            held = self._role_keys[role] = self.assume(role, life_s=ROLE_KEYS_LIFE_S)
        return held

    def _add(
        self, prefix: str, principal: Principal, *, expires_at: float | None = None
    ) -> AccessKey:
        key = AccessKey(
            id=prefix + self._ids.secret(20),
            secret=self._ids.secret(30),
            principal=principal,
            security_token="" if expires_at is None else self._ids.secret(120),
            expires_at=expires_at,
        )
        self._keys[key.id] = key
        return key


def check_token(key: AccessKey, token: str, *, now: float) -> None:
    """Refuse a security token that is missing, another key's, or expired."""
    if key.security_token and not token:
        raise Refusal("MissingSecurityToken", "SecurityToken is mandatory for this action.")
    if token != key.security_token:
        message = "Specified SecurityToken mismatch with the AccessKey."
        raise Refusal("InvalidSecurityToken.MismatchWithAccessKey", message)
    if key.expires_at is not None and now >= key.expires_at:
        raise Refusal("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
