"""How the guard tells terwayd that a link's other end may have changed: a ring of link numbers.

The program writes the ifindex of a link whose packets come from another MAC than they should, ten
times a second at most; nobody has to look at counters.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from terway.linux.bpf import Map
from terway.linux.ring import Ring, open_ring

_NUMBER = struct.Struct("=I")


class Bell:
    """The reading end of the ring. One reader at a time."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def rung(self) -> AsyncIterator[frozenset[int]]:
        """Yield the links that the guard rang for, until cancelled."""
        async for messages in self._ring.filled():
            yield _links(messages)

    def take(self) -> frozenset[int]:
        """Return what is in the ring, and empty it."""
        return _links(self._ring.take())


def _links(messages: list[bytes]) -> frozenset[int]:
    return frozenset(_NUMBER.unpack_from(one)[0] for one in messages)


@contextmanager
def open_bell(ring: Map) -> Iterator[Bell]:
    """Map the ring into memory for the block."""
    with open_ring(ring) as opened:
        yield Bell(opened)
