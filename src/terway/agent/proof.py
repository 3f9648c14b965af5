"""Has an attachment become what was planned? Read back once nobody waits for it.

ADD answers when the kernel has acknowledged every message of the plan; reading all of it back
would cost the pod another third of the time. So it is read a little later, and what is not as
planned (somebody else was at it in the meantime, or something was left of an earlier owner of the
address) is mended and told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from terway.agent.turns import Turns
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.errors import VpcError

# A wave of pods is over by then; and who has just got an address is served before who has one.
LEISURE_S = 0.5
_PATIENCE = 6

_log = structlog.get_logger("proof")


class Network(Protocol):
    """The kernel's half of an attachment; `agent.network` is the real one."""

    async def prove(self, attachment: Attachment) -> bool:
        """Read it back and put right what is not as planned; return whether there was something."""


class Proof:
    """Reads back what ADD has made. `held` returns an attachment as it is now, None when gone."""

    def __init__(
        self,
        *,
        network: Network,
        turns: Turns,
        held: Callable[[AttachmentKey], Attachment | None],
    ) -> None:
        self._network = network
        self._turns = turns
        self._held = held
        self._unread: dict[AttachmentKey, AttachmentKey] = {}  # whose turn it is, by attachment
        self._noted = asyncio.Event()

    def note(self, attachment: Attachment) -> None:
        """Remember that `attachment` has been made."""
        self._unread[attachment.key] = attachment.owner
        self._noted.set()

    async def run(self) -> None:
        """Read back what is noted, at leisure, until cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self._leisure()
            await self.read_back()

    async def _leisure(self) -> None:
        """Wait until nobody has asked for anything for a moment, but not for long."""
        for _ in range(_PATIENCE):
            await asyncio.sleep(LEISURE_S)
            if not self._turns.busy:
                return

    async def read_back(self) -> None:
        """Read back all that is noted now, one at a time. What fails is left to the reconcile."""
        unread, self._unread = self._unread, {}
        for key, owner in unread.items():
            try:
                async with self._turns.turn(owner, is_look=True):
                    attachment = self._held(key)
                    if attachment is not None and await self._network.prove(attachment):
                        _log.warning("proof.mended", attachment=str(key))
            except VpcError as error:
                _log.warning("proof.failed", attachment=str(key), error=str(error))
