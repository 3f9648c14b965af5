"""How does a WATCH answer become typed events?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from terway.kube.errors import Status, translate
from terway.kube.resource import Resource
from terway.kube.types import KubeObject
from terway.model.errors import TransientError

T = TypeVar("T")


class EventType(Enum):
    """What happened to an object, spelt as the API spells it."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent(Generic[T]):
    """One change of one object; `object` is its state after (for DELETED: just before)."""

    type: EventType
    object: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """Nothing changed up to `resource_version`: resume from there."""

    resource_version: str


class _Frame(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


_FRAME = msgspec.json.Decoder(_Frame)
_BOOKMARK = msgspec.json.Decoder(KubeObject)
_STATUS = msgspec.json.Decoder(Status)


def split_lines(buffer: bytearray, chunk: bytes) -> Iterator[bytes]:
    """Yield the lines that `chunk` completes; what is left stays in `buffer`."""
    start = 0
    while (end := chunk.find(b"\n", start)) >= 0:
        line = bytes(buffer) + chunk[start:end] if buffer else chunk[start:end]
        buffer.clear()
        start = end + 1
        if line:
            yield line
    buffer += chunk[start:]


def decode_event(line: bytes, resource: Resource[T], *, tried: str) -> WatchEvent[T] | Bookmark:
    """Return the event in one line of the answer; raise the error that an ERROR event carries."""
    try:
        frame = _FRAME.decode(line)
        match frame.type:
            case "BOOKMARK":
                metadata = _BOOKMARK.decode(frame.object).metadata
                return Bookmark(resource_version=metadata.resource_version)
            case "ERROR":
                raise translate(_STATUS.decode(frame.object), tried=tried)
            case _:
                return WatchEvent(
                    type=EventType(frame.type), object=resource.decoder.decode(frame.object)
                )
    except (msgspec.MsgspecError, ValueError) as error:
        raise TransientError(f"{tried}: cannot read the event {line[:120]!r}: {error}") from error


async def read_events(
    chunks: AsyncIterator[bytes], resource: Resource[T], *, tried: str
) -> AsyncGenerator[WatchEvent[T] | Bookmark, None]:
    """Yield the events of an answer's body until it ends."""
    buffer = bytearray()
    async for chunk in chunks:
        for line in split_lines(buffer, chunk):
            yield decode_event(line, resource, tried=tried)
