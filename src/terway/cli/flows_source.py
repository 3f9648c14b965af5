"""Where do records of connections come from: terwayd's flow log as it grows, or files of them?"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlencode

from terway.cli.place import Place
from terway.cli.read_node import get_page
from terway.model.errors import TransientError, UsageError
from terway.policy.records.recorded import Line, read_line

PAGE = "/debug/flows"
_RECEIVE_BYTES = 64 * 1024
_ANSWER_S = 5.0


def read_files(paths: Iterable[Path]) -> Iterator[Line]:
    """Yield the records of files, in the files' order. Raises UsageError with file and line."""
    for path in paths:
        try:
            with path.open(encoding="utf-8") as opened:
                for number, text in enumerate(opened, 1):
                    if text.strip():
                        yield read_line(text, where=f"{path} line {number}")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"{path}: {why}", field=str(path)) from error


def follow(place: Place, words: dict[str, str], *, seconds: float | None) -> Iterator[Line]:
    """Yield what terwayd tells until it ends, or `seconds` are over.

    Raises TransientError when terwayd is down, or goes; UsageError when it refuses the question.
    """
    get_page(place, "/healthz")  # says why terwayd is down
    until = None if seconds is None else time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.settimeout(_ANSWER_S)
        try:
            opened.connect(str(place.debug_socket))
            opened.sendall(f"GET {PAGE}?{urlencode(words)} HTTP/1.0\r\n\r\n".encode())
            rest = _past_head(opened)
            for text in _lines(opened, rest, until):
                yield read_line(text, where="an answer of terwayd")
        except OSError as error:
            raise TransientError(f"terwayd at {place.debug_socket}: {error}") from error


def _past_head(opened: socket.socket) -> bytes:
    """Return what has come after the head of the answer. Raises when it is not the flow log."""
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
        text = f"{PAGE}: this terwayd keeps no flow log; it enforces no policies (see eni-config)"
        raise UsageError(text, field=PAGE)
    said = (rest + _remainder(opened)).decode(errors="replace").strip()
    raise UsageError(said, field=PAGE)


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
