"""How the guard tells terwayd that a link's other end may have changed: a ring of link numbers.

The program writes the ifindex of a link whose packets come from another MAC than they should, ten
times a second at most; nobody has to look at counters. Source: kernel/bpf/ringbuf.c, and
Documentation/bpf/ringbuf.rst.
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
_NUMBER = struct.Struct("=I")
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1


class Bell:
    """The reading end of the ring. One reader at a time."""

    def __init__(self, ring: Map, consumer: mmap.mmap, producer: mmap.mmap) -> None:
        self._ring = ring
        self._consumer = consumer
        self._producer = producer

    async def rung(self) -> AsyncIterator[frozenset[int]]:
        """Yield the links that the guard rang for, until cancelled."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._ring.fd, ready.set)
        try:
            while True:
                if links := self.take():
                    yield links
                ready.clear()
                await ready.wait()
        finally:
            loop.remove_reader(self._ring.fd)

    def take(self) -> frozenset[int]:
        """Return what is in the ring, and empty it."""
        start, end = (_POSITION.unpack_from(one)[0] for one in (self._consumer, self._producer))
        links: set[int] = set()
        while start < end:
            length, link = self._record(start)
            if length & _BUSY:
                break
            if not length & _DISCARDED:
                links.add(link)
            start += _HEADER.size + ((length & _LENGTH) + 7) // 8 * 8
        _POSITION.pack_into(self._consumer, 0, start)
        return frozenset(links)

    def _record(self, position: int) -> tuple[int, int]:
        # The data begin a page after the producer's position, and are there twice in a row.
        at = mmap.PAGESIZE + position % self._ring.max_entries
        return (
            _HEADER.unpack_from(self._producer, at)[0],
            _NUMBER.unpack_from(self._producer, at + _HEADER.size)[0],
        )


@contextmanager
def open_bell(ring: Map) -> Iterator[Bell]:
    """Map the ring into memory for the block."""
    page = mmap.PAGESIZE
    with (
        mmap.mmap(ring.fd, page) as consumer,
        mmap.mmap(
            ring.fd, page + 2 * ring.max_entries, prot=mmap.PROT_READ, offset=page
        ) as producer,
    ):
        yield Bell(ring, consumer, producer)
