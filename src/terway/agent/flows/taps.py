"""Which namespaces' logs are read? The node's, and those of pods that are judged in their own.

A socket is opened in a thread, because the thread is in the namespace meanwhile; it is read on the
loop, which never waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import structlog

from terway.linux.nflog import Taken
from terway.model.errors import VpcError

GROUP = 21838  # "UN": no well-known program's

_log = structlog.get_logger("flows")


class Tap(Protocol):
    """The log of one namespace: `linux.nflog.PacketLog`."""

    def fileno(self) -> int:
        """Return what becomes readable."""

    def take(self) -> Taken:
        """Return what has come, without waiting."""

    def link_name(self, index: int) -> str:
        """Return the name of a link there."""

    def close(self) -> None:
        """Close it."""


OpenTap = Callable[[str], Awaitable[Tap]]


class Taps:
    """The open logs by namespace; empty is the node's. `took` gets what each brings."""

    def __init__(self, open_tap: OpenTap, took: Callable[[str, Tap, Taken], None]) -> None:
        self._open_tap = open_tap
        self._took = took
        self._open: dict[str, Tap] = {}
        self.refused: dict[str, str] = {}  # why a namespace's log could not be opened

    async def fit(self, wanted: Collection[str]) -> None:
        """Have the logs of these namespaces open, and no others. A refusal is told and kept."""
        for netns in [netns for netns in self._open if netns not in wanted]:
            self._close(netns)
        self.refused = {netns: why for netns, why in self.refused.items() if netns in wanted}
        for netns in wanted:
            if netns not in self._open:
                await self._add(netns)

    def close(self) -> None:
        """Close all."""
        for netns in tuple(self._open):
            self._close(netns)

    async def _add(self, netns: str) -> None:
        try:
            tap = await self._open_tap(netns)
        except VpcError as error:
            if self.refused.get(netns) != str(error):
                _log.warning("flows.no_log", netns=netns or "node", error=str(error))
            self.refused[netns] = str(error)
            return
        self.refused.pop(netns, None)
        self._open[netns] = tap
        asyncio.get_running_loop().add_reader(tap.fileno(), self._read, netns)

    def _close(self, netns: str) -> None:
        tap = self._open.pop(netns)
        asyncio.get_running_loop().remove_reader(tap.fileno())
        tap.close()

    def _read(self, netns: str) -> None:
        tap = self._open[netns]
        try:
            taken = tap.take()
        except VpcError as error:
            _log.warning("flows.log_broken", netns=netns or "node", error=str(error))
            self._close(netns)  # opened again at the next look
            return
        self._took(netns, tap, taken)
