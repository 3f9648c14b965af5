"""Which PodNetworkings does the API server ask us about, whenever they select a pod?

One is Ready only when it does: so nobody who waited for that makes a pod that nobody asks about.
"""

from __future__ import annotations

from collections.abc import Iterable


class Announced:
    """Their names. Until somebody is expected to tell, there is no webhook to wait for."""

    def __init__(self) -> None:
        self._names: frozenset[str] | None = None

    def expect(self) -> None:
        """Have all wait until they are told of."""
        self._names = frozenset()

    def tell(self, names: Iterable[str]) -> None:
        """Say which the API server knows from now on."""
        self._names = frozenset(names)

    def has(self, name: str) -> bool:
        """Return whether a PodNetworking is known, or need not be."""
        return self._names is None or name in self._names
