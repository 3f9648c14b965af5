"""What did the ENIs look like a while ago? For readers that lag behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from terway.lab.cloud.records import ENIRecord
from terway.model.ids import ENIId

ENIs = Mapping[str, ENIRecord]
Change = tuple[ENIId, ENIRecord | None]
"""An ENI and what it was before; None: it was not there."""


class History:
    """The changes of `enis`, which somebody else makes, for as long as somebody may ask for them.

    Changes and not copies: a large region changes many times a second, and hardly anybody lags.
    """

    def __init__(self, enis: ENIs) -> None:
        self._enis = enis
        self._changes: deque[tuple[float, Change]] = deque()

    def add(self, at: float, changes: Iterable[Change], *, keep_s: float) -> None:
        """Add changes that were made at a time, and forget those older than `keep_s` before it."""
        self._changes.extend((at, change) for change in changes)
        while self._changes and self._changes[0][0] <= at - keep_s:
            self._changes.popleft()

    def at(self, time: float) -> ENIs:
        """Return the ENIs as they were at `time`, or as far back as changes are kept."""
        if not self._changes or self._changes[-1][0] <= time:
            return self._enis
        found = dict(self._enis)
        for at, (eni_id, before) in reversed(self._changes):
            if at <= time:
                break
            if before is None:
                found.pop(eni_id, None)
            else:
                found[eni_id] = before
        return dict(sorted(found.items(), key=lambda item: item[1].serial))
