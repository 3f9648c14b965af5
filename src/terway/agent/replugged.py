"""Which ENIs have come back with another number? What knows them by number is to be told.

Pure: numbers as one sweep after the other sees them.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.datapath.facts import ENILink
from terway.model.ids import MacAddress

_AWAY = 0  # as a number: no link has it


class ENINumbers:
    """The numbers of the node's ENIs, as the last sweep saw them."""

    def __init__(self) -> None:
        self._known: dict[MacAddress, int] = {}

    def changed(
        self, ready: Iterable[ENILink], away: Iterable[MacAddress]
    ) -> frozenset[MacAddress]:
        """Return the ENIs that have another number now; one that is seen first has no other."""
        now = {one.mac: one.ifindex for one in ready}
        for mac in away:
            self._known.setdefault(mac, _AWAY)
        found = {mac for mac, number in now.items() if self._known.get(mac, number) != number}
        self._known |= now
        return frozenset(found)
