"""When is the kernel looked at before its time? When somebody else changed what terwayd stands on.

links, routes, rules ──change──► does it matter? ──► reconcile soon

An event is only a reason to look: one too many costs a look, one too few waits for the next period.
"""

from __future__ import annotations

from typing import assert_never

from terway.agent.enis import ENILinks
from terway.agent.reconcile import Reconciler
from terway.agent.turns import Turns
from terway.linux.monitor import Changed, Event, EventsLost, Watched, open_monitor
from terway.model.network import Link


class KernelWatch:
    """Wakes the reconciler."""

    def __init__(self, *, enis: ENILinks, reconciler: Reconciler, turns: Turns) -> None:
        self._enis = enis
        self._reconciler = reconciler
        self._turns = turns

    async def run(self) -> None:
        """Watch until cancelled."""
        with open_monitor(Watched.LINKS, Watched.ROUTES, Watched.RULES) as monitor:
            async for event in monitor.events():
                if self._matters(event):
                    self._reconciler.wake()

    def _matters(self, event: Event) -> bool:
        match event:
            case EventsLost():
                return True
            case Changed(link=Link() as link):
                return link.mac in self._reconciler.enis_in_use and self._has_changed(link, event)
            case Changed():
                # While attachments are made and undone, it is most likely ourselves.
                return event.is_gone and not self._turns.busy
            case _:
                assert_never(event)

    def _has_changed(self, link: Link, event: Changed) -> bool:
        assert link.mac is not None  # it is one of ours
        known = self._enis.known(link.mac)
        is_as_known = known is not None and (known.name, known.ifindex) == (link.name, link.ifindex)
        return event.is_gone or not link.is_up or not is_as_known
