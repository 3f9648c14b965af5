"""What did the ENIs look like a while ago? For readers that lag behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from terway.lab.cloud.records import ENIRecord

ENIs = Mapping[str, ENIRecord]


class History:
    """Snapshots of all ENIs after each change, for as long as somebody may ask for them."""

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, ENIs]] = deque()

    def add(self, at: float, enis: ENIs, *, keep_s: float) -> None:
        """Add a snapshot of `enis` at a time, and forget those older than `keep_s` before it.

        The last one that is too old stays: it is what was true at the edge.
        """
        self._snapshots.append((at, dict(enis)))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= at - keep_s:
            self._snapshots.popleft()

    def at(self, time: float) -> ENIs:
        """Return the ENIs as they were at `time`; the oldest that is kept, where none is so old."""
        found: ENIs = self._snapshots[0][1] if self._snapshots else {}
        for at, enis in self._snapshots:
            if at > time:
                break
            found = enis
        return found
