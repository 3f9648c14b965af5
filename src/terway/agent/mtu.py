"""How large may packets be? As the node's own link says, and as its gateway answers.

    link changes ──► its MTU ──► does an echo of that size come back? ──► new pods, ENIs

Without an answer at all the link is believed: not every gateway answers echoes. A pod keeps the
MTU that it was born with; what is too large for the next hop is told to the sender by ICMP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from terway.linux.monitor import Changed, Event, EventsLost, open_monitor
from terway.linux.monitor import Watched as Kinds

_log = structlog.get_logger("mtu")

Look = Callable[[], Awaitable[int | None]]


class MtuFollower:
    """Follows one link. `look` says what gets through it now, None where the link is gone."""

    def __init__(self, uplink: str, *, look: Look, apply: Callable[[int], None]) -> None:
        self._uplink = uplink
        self._look = look
        self._apply = apply
        self._linked: int | None = None  # the link's own MTU when it was last looked at
        self._applied: int | None = None

    async def run(self) -> None:
        """Look now, and whenever the link changes, until cancelled."""
        with open_monitor(Kinds.LINKS) as monitor:
            await self._follow()
            async for event in monitor.events():
                if self.matters(event):
                    await self._follow()

    def matters(self, event: Event) -> bool:
        """Return whether an event may be about the size of packets; remember it if so."""
        if isinstance(event, EventsLost):
            return True
        if not isinstance(event, Changed) or event.link is None or event.is_gone:
            return False
        if event.link.name != self._uplink or event.link.mtu_bytes == self._linked:
            return False
        self._linked = event.link.mtu_bytes
        return True

    async def _follow(self) -> None:
        found = await self._look()
        if found is None or found == self._applied:
            return
        self._applied = found
        self._apply(found)
        _log.info("mtu.applied", link=self._uplink, mtu_bytes=found)
