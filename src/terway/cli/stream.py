"""What does terwayd tell as it happens: how is a page without an end read?"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from terway.cli.place import Place
from terway.cli.read_node import get_page
from terway.config.duration import parse_duration
from terway.model.errors import TransientError, UsageError

_RECEIVE_BYTES = 64 * 1024
_ANSWER_S = 5.0


def parse_seconds(text: str) -> float | None:
    """Return the seconds of an option --for; None for an empty one: for ever."""
    if not text:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(f"--for {text!r}: write 10s, 5m or 1h", field="--for")
    return seconds


def read_stream(
    place: Place, page: str, words: dict[str, str], *, seconds: float | None, absent: str
) -> Iterator[str]:
    """Yield the lines that terwayd sends until it ends, or `seconds` after its answer are over.

    Raises TransientError when terwayd is down, or goes; UsageError when it refuses the question,
    or has no such page: `absent` says what that means.
    """
    get_page(place, "/healthz")  # says why terwayd is down
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.settimeout(_ANSWER_S)
        try:
            opened.connect(str(place.debug_socket))
            opened.sendall(f"GET {page}?{urlencode(words)} HTTP/1.0\r\n\r\n".encode())
            rest = _past_head(opened, page, absent)
            # Whoever asks for ten seconds has them, however late a busy terwayd answers.
            until = None if seconds is None else time.monotonic() + seconds
            yield from _lines(opened, rest, until)
        except OSError as error:
            raise TransientError(f"terwayd at {place.debug_socket}: {error}") from error


def _past_head(opened: socket.socket, page: str, absent: str) -> bytes:
    """Return what has come after the head of the answer. Raises when it is not the stream."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = opened.recv(_RECEIVE_BYTES)
        if not data:
            raise TransientError("terwayd ended before it answered")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return rest
    if status == [b"404"]:
        raise UsageError(f"{page}: {absent}", field=page)
    said = (rest + _remainder(opened)).decode(errors="replace").strip()
    raise UsageError(said, field=page)


def _remainder(opened: socket.socket) -> bytes:
    received = b""
    while data := opened.recv(_RECEIVE_BYTES):
        received += data
    return received


def _lines(opened: socket.socket, received: bytes, until: float | None) -> Iterator[str]:
    while True:
        *whole, received = received.split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
        left_s = None if until is None else until - time.monotonic()
        if left_s is not None and left_s <= 0:
            return
        opened.settimeout(left_s)
        try:
            data = opened.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return
        if not data:
            return
        received += data
