"""Whose is an address and port that several services want?

A service's own cluster address comes first: nobody can take another's by naming it as an external
address (CVE-2020-8554). Among equals the name decides, so that the order of events does not.
"""

from __future__ import annotations

_NAMED = "~"  # behind every letter, and in no name


def claim_of(service: str, *, is_own: bool) -> str:
    """Return how a service claims an address: the least claim wins."""
    return service if is_own else _NAMED + service


def service_of(claim: str) -> str:
    """Return who claims."""
    return claim.removeprefix(_NAMED)


class Claims:
    """Who wants which frontend."""

    def __init__(self) -> None:
        # Nearly all have one claim, and there are tens of thousands.
        self._held: dict[bytes, str | tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def winner(self, key: bytes) -> str | None:
        """Return the service that has a frontend."""
        held = self._held.get(key)
        first = held[0] if isinstance(held, tuple) else held
        return None if first is None else service_of(first)

    def put(self, key: bytes, claim: str) -> str | None:
        """Add a claim; return the service that had the frontend until now, if it lost it."""
        held = self._held.get(key)
        if held is None:
            self._held[key] = claim
            return None
        before = held if isinstance(held, tuple) else (held,)
        after = tuple(sorted({*before, claim}))
        self._held[key] = after if len(after) > 1 else after[0]
        return service_of(before[0]) if after[0] != before[0] else None

    def drop(self, key: bytes, claim: str) -> str | None:
        """Take back a claim; return the service that has the frontend from now on, if new."""
        held = self._held.get(key)
        if not isinstance(held, tuple):
            if held == claim:
                del self._held[key]
            return None
        after = tuple(one for one in held if one != claim)
        self._held[key] = after if len(after) > 1 else after[0]
        return service_of(after[0]) if after[0] != held[0] else None
