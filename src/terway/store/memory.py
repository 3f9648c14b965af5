"""A journal without a disk, for tests: what was written outlives the store, as a file would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.eni import VSwitch
from terway.model.ids import ClientToken, ENIId, VSwitchId
from terway.store.records import (
    Batch,
    ENIRecord,
    IntentRecord,
    Journal,
    MarkRecord,
    PrefixRecord,
    SlotRecord,
    StoreError,
)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Disk:
    """What survives a crash."""

    attachments: Mapping[AttachmentKey, Attachment] = field(default_factory=dict)
    slots: Mapping[IPAddress, SlotRecord] = field(default_factory=dict)
    enis: Mapping[ENIId, ENIRecord] = field(default_factory=dict)
    intents: Mapping[ClientToken, IntentRecord] = field(default_factory=dict)
    vswitches: Mapping[VSwitchId, VSwitch] = field(default_factory=dict)
    prefixes: Mapping[IPNetwork, PrefixRecord] = field(default_factory=dict)
    marks: Mapping[str, MarkRecord] = field(default_factory=dict)
    flushes: int = 0

    def journal(self) -> Journal:
        """Return everything that is on the disk."""
        return Journal(
            attachments=tuple(self.attachments.values()),
            slots=tuple(self.slots.values()),
            enis=tuple(self.enis.values()),
            intents=tuple(self.intents.values()),
            vswitches=tuple(self.vswitches.values()),
            prefixes=tuple(self.prefixes.values()),
            marks=tuple(self.marks.values()),
        )


class MemoryStore:
    """The journal on a `Disk`. A write is durable one turn of the event loop after it is asked."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._queue: list[tuple[Batch, asyncio.Future[None]]] = []

    def write(self, batch: Batch) -> Awaitable[None]:
        """Queue `batch`; as the real store, many batches of one turn share one flush."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if not self._queue:
            loop.call_soon(self._flush)
        self._queue.append((batch, done))
        return done

    async def load(self) -> Journal:
        """Return everything that is on the disk."""
        return self._disk.journal()

    def _flush(self) -> None:
        jobs, self._queue = self._queue, []
        self._disk.flushes += 1
        for batch, done in jobs:
            error = apply_batch(self._disk, batch)
            if done.cancelled():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


def apply_batch(disk: Disk, batch: Batch) -> StoreError | None:
    """Apply `batch` whole, or return why not."""
    attachments = _without(disk.attachments, batch.delete_attachments)
    slots = _without(disk.slots, batch.delete_slots)
    enis = _without(disk.enis, batch.delete_enis)
    intents = _without(disk.intents, batch.delete_intents)
    prefixes = _without(disk.prefixes, batch.delete_prefixes)
    vswitches, marks = dict(disk.vswitches), dict(disk.marks)
    for record in batch.put:
        match record:
            case Attachment():
                attachments[record.key] = record
            case SlotRecord():
                slots[record.address] = record
            case PrefixRecord():
                prefixes[record.network] = record
            case MarkRecord():
                marks[record.name] = record
            case ENIRecord():
                enis[record.id] = record
            case VSwitch():
                vswitches[record.id] = replace(record, available_ip_count=0)
            case _:
                intents[record.token] = record
    twice = _held_twice(attachments)
    if twice is not None:
        return StoreError(f"journal: two attachments hold {twice}")
    disk.attachments, disk.slots, disk.enis, disk.intents = attachments, slots, enis, intents
    disk.vswitches, disk.prefixes, disk.marks = vswitches, prefixes, marks
    return None


def _without(mapping: Mapping[K, V], keys: tuple[K, ...]) -> dict[K, V]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _held_twice(attachments: Mapping[AttachmentKey, Attachment]) -> IPAddress | None:
    seen: set[IPAddress] = set()
    for address in _addresses(attachments):
        if address in seen:
            return address
        seen.add(address)
    return None


def _addresses(attachments: Mapping[AttachmentKey, Attachment]) -> Iterator[IPAddress]:
    for attachment in attachments.values():
        yield from attachment.lease.addresses
