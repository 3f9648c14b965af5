"""Which security groups does the cloud know?

Upstream never asks, and a cluster that comes from it may lack the right to: then nobody knows, and
whoever asks must not take that for a no.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from terway.controlplane.podenis.calls import Calls
from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId

_log = structlog.get_logger("podenis")
# The same each time, and so without the number of the request: it goes into a status.
_REFUSED = "the cloud refused DescribeSecurityGroups"
_REMEDY = "deploy/ram-controlplane.json grants it, as ecs:DescribeSecurityGroups"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Which groups are `missing`; `unchecked` is why nobody knows, empty where the cloud said."""

    missing: tuple[SecurityGroupId, ...] = ()
    unchecked: str = ""


class SecurityGroups:
    """Security groups by id. `clock` is monotonic seconds.

    One that exists is believed in for `ttl_s`; one that does not is asked for each time.
    """

    def __init__(self, calls: Calls, *, clock: Callable[[], float], ttl_s: float) -> None:
        self._calls = calls
        self._clock = clock
        self._ttl_s = ttl_s
        self._until: dict[SecurityGroupId, float] = {}

    async def look(self, ids: Sequence[SecurityGroupId]) -> Looked:
        """Return which of `ids` do not exist. Raises TransientError where the cloud is away."""
        now = self._clock()
        asked = tuple(one for one in dict.fromkeys(ids) if self._until.get(one, now) <= now)
        if not asked:
            return Looked()
        try:
            found = await self._calls.security_groups(asked)
        except UsageError as error:
            _log.warning("podenis.groups_unchecked", error=str(error))
            return Looked(unchecked=f"{_REFUSED}: {error.code}; {_REMEDY}")
        self._until.update(dict.fromkeys(found, now + self._ttl_s))
        return Looked(missing=tuple(one for one in asked if one not in found))
