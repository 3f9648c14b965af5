"""Where do the keys that sign cloud calls come from?

Three kinds: a fixed access key, a fixed STS token, and the RAM role of the instance, whose
temporary keys the metadata service hands out and which are fetched anew before they expire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

# The metadata service renews role keys about 30 minutes before they expire; asking earlier than
# that returns the same keys again.
REFRESH_BEFORE_EXPIRY_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One set of keys. `security_token` is empty for a permanent access key."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    expires_at: float | None = None  # seconds since the epoch; None: does not expire


class CredentialsProvider(Protocol):
    """What the OpenAPI client asks for keys, before each call."""

    async def get(self) -> Credentials:
        """Return keys that are good now. Raises TransientError when they cannot be had."""
        ...

    def forget(self) -> None:
        """Drop keys that the cloud called expired, so that `get` fetches new ones."""
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """A provider of the one set of keys that it was made with."""

    credentials: Credentials

    async def get(self) -> Credentials:
        """Return the keys."""
        return self.credentials

    def forget(self) -> None:
        """Keep the keys: there are no others."""


class RoleCredentialsSource(Protocol):
    """The part of the metadata service that hands out keys of the instance's RAM role."""

    async def role_credentials(self, role: str = "") -> Credentials:
        """Return the present keys of `role`, or of the only role when it is empty."""
        ...


class RamRoleCredentials:
    """A provider of the instance's RAM role keys, kept until shortly before they expire."""

    def __init__(
        self, source: RoleCredentialsSource, *, now: Callable[[], float], role: str = ""
    ) -> None:
        self._source = source
        self._now = now  # seconds since the epoch, as `expires_at`
        self._role = role
        self._held: Credentials | None = None
        self._fetching = asyncio.Lock()

    async def get(self) -> Credentials:
        """Return the held keys, fetching new ones when they are about to expire."""
        async with self._fetching:  # many calls, one fetch
            if self._held is None or self._is_stale(self._held):
                self._held = await self._source.role_credentials(self._role)
            return self._held

    def forget(self) -> None:
        """Make the next `get` fetch."""
        self._held = None

    def _is_stale(self, held: Credentials) -> bool:
        return held.expires_at is not None and (
            held.expires_at - self._now() < REFRESH_BEFORE_EXPIRY_S
        )
