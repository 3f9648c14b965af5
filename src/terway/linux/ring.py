"""What have programs put into a ring buffer? The reading end, for one reader at a time.

Source: kernel/bpf/ringbuf.c, and Documentation/bpf/ringbuf.rst.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from terway.linux.bpf import Map

_POSITION = struct.Struct("=Q")
_HEADER = struct.Struct("=II")  # length and two flags, place of the page
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1


class Ring:
    """The reading end of a ring buffer."""

    def __init__(self, ring: Map, consumer: mmap.mmap, producer: mmap.mmap) -> None:
        self._ring = ring
        self._consumer = consumer
        self._producer = producer

    async def filled(self) -> AsyncIterator[list[bytes]]:
        """Yield the messages that came, each time there are some, until cancelled."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._ring.fd, ready.set)
        try:
            while True:
                if messages := self.take():
                    yield messages
                ready.clear()
                await ready.wait()
        finally:
            loop.remove_reader(self._ring.fd)

    def take(self) -> list[bytes]:
        """Return what is in the ring, and empty it."""
        start, end = (_POSITION.unpack_from(one)[0] for one in (self._consumer, self._producer))
        found: list[bytes] = []
        while start < end:
            # The data begin a page after the producer's position, and are there twice in a row.
            at = mmap.PAGESIZE + start % self._ring.max_entries
            length: int = _HEADER.unpack_from(self._producer, at)[0]
            if length & _BUSY:
                break
            size = length & _LENGTH
            if not length & _DISCARDED:
                found.append(self._producer[at + _HEADER.size : at + _HEADER.size + size])
            start += _HEADER.size + (size + 7) // 8 * 8
        _POSITION.pack_into(self._consumer, 0, start)
        return found


@contextmanager
def open_ring(ring: Map) -> Iterator[Ring]:
    """Map the ring into memory for the block."""
    page = mmap.PAGESIZE
    with (
        mmap.mmap(ring.fd, page) as consumer,
        mmap.mmap(
            ring.fd, page + 2 * ring.max_entries, prot=mmap.PROT_READ, offset=page
        ) as producer,
    ):
        yield Ring(ring, consumer, producer)
