"""How netlink messages and attributes are laid out in bytes.

Source: netlink(7), include/uapi/linux/netlink.h. Everything is in the byte order of the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_MIN_TYPE = 16  # below: control messages

NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_CAPPED = 0x100  # the error quotes only the header of the request
NLM_F_ACK_TLVS = 0x200  # the error carries attributes (extended ack)
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTR = struct.Struct("=HH")  # length, type
U32 = struct.Struct("=I")

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

Attributes = dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Words:
    """A text that is made only if somebody reads it: ten of them cost as much as a send(2)."""

    make: Callable[[Any], str]
    about: object

    def __str__(self) -> str:
        return self.make(self.about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message that changes something and is acknowledged.

    `what` names it in errors, in the words of iproute2 ("route add 10.0.0.0/8 dev eth0"). An
    answer in `tolerated` (errno values) counts as success.
    """

    type: int
    flags: int
    body: bytes
    what: str | Words
    tolerated: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Generic[T_co]):
    """A message that reads: `decode` makes a value of each answer, or None to leave it out.

    With `needles`, answers that contain none of these bytes are passed over undecoded: it is how
    one pod's rules are found among a thousand without paying for the others.
    """

    type: int
    body: bytes
    decode: Callable[[bytes], T_co | None]
    what: str
    is_dump: bool = True
    needles: tuple[bytes, ...] = ()


def attr(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    length = 4 + len(payload)
    return ATTR.pack(length, kind) + payload + _PADDING[length & 3]


def attr_u32(kind: int, value: int) -> bytes:
    """Return an attribute that holds a 32-bit number."""
    return ATTR.pack(8, kind) + U32.pack(value)


def attr_str(kind: int, value: str) -> bytes:
    """Return an attribute that holds a zero-terminated string."""
    return attr(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(parts))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a whole message; the kernel fills in our port."""
    return HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body


def attributes(data: bytes, start: int = 0) -> Attributes:
    """Return the attributes that `data` holds from `start` on; the last of a kind wins.

    A length that does not fit ends the walk, as nla_ok() does in the kernel.
    """
    found: Attributes = {}
    unpack = ATTR.unpack_from
    end = len(data)
    while start + 4 <= end:
        length, kind = unpack(data, start)
        if length < 4 or start + length > end:
            break
        found[kind & NLA_TYPE_MASK] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def u32(data: bytes) -> int:
    """Return the number in a 32-bit attribute."""
    return int(U32.unpack_from(data)[0])


def text(data: bytes) -> str:
    """Return the string in a zero-terminated attribute."""
    return data.split(b"\0", 1)[0].decode(errors="replace")


def messages(data: bytes, needles: Sequence[bytes] = ()) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, sequence, body) of each message that one recv(2) brought.

    With `needles`, messages that contain none of them are left out, except control messages
    (acknowledgements, ends) and those that say the dump was interrupted.
    """
    unpack = HEADER.unpack_from
    hits = _positions(data, needles)
    start, limit = 0, len(data)
    while start + 16 <= limit:
        length, kind, flags, sequence, _port = unpack(data, start)
        end = start + length
        if length < 16 or end > limit:
            break
        while hits[-1] < start:
            hits.pop()
        is_hit = not needles or hits[-1] < end
        if is_hit or kind < NLMSG_MIN_TYPE or flags & NLM_F_DUMP_INTR:
            yield kind, flags, sequence, data[start + 16 : end]
        start = (end + 3) & ~3


def _positions(data: bytes, needles: Sequence[bytes]) -> list[int]:
    """Return where needles are, the last first; above them all, a place beyond the data."""
    found = [len(data)]
    for needle in needles:
        position = data.find(needle)
        while position >= 0:
            found.append(position)
            position = data.find(needle, position + 1)
    found.sort(reverse=True)
    return found
