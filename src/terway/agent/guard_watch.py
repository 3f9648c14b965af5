"""When is a pod's guard made to fit? As soon as packets come from another MAC than it knows.

A plugin that is chained after ours (`tuning`) may change the MAC of the pod's end. Its first frame
is dropped and rings the bell; the link is read again, and the next one passes.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from terway.agent.turns import Turns
from terway.datapath.names import host_link_name
from terway.model.attachment import Attachment
from terway.model.errors import VpcError

_log = structlog.get_logger("guard")


class Bell(Protocol):
    """What rings when packets of a link come from another MAC."""

    def rung(self) -> AsyncIterator[frozenset[int]]:
        """Yield the numbers of such links."""


class GuardFitter(Protocol):
    """What makes a guard fit."""

    async def fit_guard(self, attachment: Attachment) -> bool:
        """Make the guard take the MAC of the pod's end; return whether it had another."""


class GuardWatch:
    """Makes guards fit."""

    def __init__(
        self,
        *,
        open_bell: Callable[[], AbstractContextManager[Bell]],
        fitter: GuardFitter,
        attachments: Callable[[], tuple[Attachment, ...]],
        turns: Turns,
    ) -> None:
        self._open_bell = open_bell
        self._fitter = fitter
        self._attachments = attachments
        self._turns = turns

    async def run(self) -> None:
        """Watch until cancelled."""
        with self._open_bell() as bell:
            async for links in bell.rung():
                names = {name for link in links if (name := _name_of(link)) is not None}
                for attachment in self._attachments():
                    if host_link_name(attachment.key, attachment.pod) in names:
                        await self._fit(attachment)

    async def _fit(self, attachment: Attachment) -> None:
        try:
            async with self._turns.turn(attachment.key):
                if attachment in self._attachments():
                    has_changed = await self._fitter.fit_guard(attachment)
                    if has_changed:
                        _log.info("guard.fitted", attachment=str(attachment.key))
        except VpcError as error:
            _log.warning("guard.unfit", attachment=str(attachment.key), error=str(error))


def _name_of(ifindex: int) -> str | None:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return None
