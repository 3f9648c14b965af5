"""What travels between the plugin and terwayd: one request, one reply, then the connection ends.

    request   length (4 bytes, big endian), the CNI_* environment as NUL-terminated ``NAME=value``,
              one more NUL, then stdin verbatim
    reply     length (4 bytes, big endian), exit code (1 byte), what the plugin prints

The length counts what follows it. A note in the spool folder is a request without its length.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from terway.model.errors import UsageError

HEADER = struct.Struct("!I")
MAX_FRAME_BYTES = 16 << 20  # the plugin refuses more, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One execution of the plugin: its ``CNI_*`` environment and its stdin."""

    env: Mapping[str, str]
    stdin: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the plugin does: print `body` and exit with `exit_code`."""

    exit_code: int
    body: bytes


def body_length(header: bytes | bytearray) -> int:
    """Return the length of the body that follows `header`. Raises UsageError if it is too long."""
    length: int = HEADER.unpack(header)[0]
    if length > MAX_FRAME_BYTES:
        raise UsageError(f"a request of {length} bytes is more than {MAX_FRAME_BYTES}")
    return length


def parse_request(body: bytes) -> Request:
    """Return the request in a frame's body, or in a note. Raises UsageError.

    Bytes that are not UTF-8 become surrogates, as in `os.environ`: validation names them.
    """
    if body[:1] == b"\0":
        return Request(env={}, stdin=body[1:])
    environment, blank, stdin = body.partition(b"\0\0")
    if not blank:
        raise UsageError("the environment of a request has no end")
    pairs = (line.partition(b"=") for line in environment.split(b"\0"))
    env = {_text(name): _text(value) for name, _, value in pairs}
    return Request(env=env, stdin=stdin)


def encode_request(request: Request) -> bytes:
    """Return the body of `request`: what `parse_request` reads."""
    pairs = (
        f"{name}={value}\0".encode("utf-8", "surrogateescape")
        for name, value in request.env.items()
    )
    return b"".join(pairs) + b"\0" + request.stdin


def encode_reply(reply: Reply) -> bytes:
    """Return the frame of `reply`."""
    return HEADER.pack(1 + len(reply.body)) + bytes((reply.exit_code,)) + reply.body


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
