"""One operation per attachment at a time; the others wait in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from terway.model.attachment import AttachmentKey


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    lookers: int = 0  # of these: who only reads back


class Turns:
    """The queues of all attachments that somebody works on; nothing is kept of the others."""

    def __init__(self) -> None:
        self._queues: dict[AttachmentKey, _Queue] = {}

    @property
    def busy(self) -> frozenset[AttachmentKey]:
        """Return the attachments that somebody works on or waits for."""
        return frozenset(self._queues)

    @property
    def changing(self) -> frozenset[AttachmentKey]:
        """Return the attachments that are being made or undone, or soon will be."""
        return frozenset(key for key, one in self._queues.items() if one.users > one.lookers)

    @asynccontextmanager
    async def turn(self, key: AttachmentKey, *, is_look: bool = False) -> AsyncIterator[None]:
        """Wait for the turn at `key`, and hold it for the block; with `is_look` to read back."""
        queue = self._queues.setdefault(key, _Queue())
        queue.users += 1
        queue.lookers += is_look
        try:
            async with queue.lock:
                yield
        finally:
            queue.users -= 1
            queue.lookers -= is_look
            if not queue.users:
                del self._queues[key]
