"""What is in the head of an HTTP/1 message, and where does its body end? Pure. Source: RFC 9112."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

_HOP = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade")
_EMPTY_STATUSES = (204, 304)
_REQUEST = re.compile(r"[^ ]+ [^ ]+ HTTP/1\.[0-9]")
_ANSWER = re.compile(r"HTTP/1\.[0-9] [0-9]{3}( .*)?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
# Where some backends see the end of a line, and others do not.
_BARE = re.compile(r"[\r\n\0]")


class MalformedError(ValueError):
    """This is no head of HTTP/1."""


class End(Enum):
    """Where a body ends that does not say its length."""

    CHUNKED = "chunked"
    CLOSE = "close"


Framing = int | End
"""Bytes of a body, or what ends it."""

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line, and the fields as they came."""

    line: str
    fields: Fields = ()

    def get(self, name: str) -> str:
        """Return a field's value, several joined by a comma; empty for none."""
        return ", ".join(value for key, value in self.fields if key.lower() == name.lower())

    def tokens(self, name: str) -> tuple[str, ...]:
        """Return the words of a list, in small letters."""
        return tuple(filter(None, (one.strip().lower() for one in self.get(name).split(","))))

    def put(self, name: str, value: str) -> Head:
        """Return it with the one field of this name."""
        return replace(self.without((name,)), fields=(*self.without((name,)).fields, (name, value)))

    def without(self, names: Iterable[str]) -> Head:
        """Return it without these fields."""
        gone = {one.lower() for one in names}
        kept = tuple((key, value) for key, value in self.fields if key.lower() not in gone)
        return replace(self, fields=kept)

    def without_hops(self) -> Head:
        """Return it without what is of one connection alone."""
        return self.without((*_HOP, *self.tokens("Connection")))

    @property
    def method(self) -> str:
        """Return a request's method."""
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        """Return what a request asks for."""
        return self.line.split(" ")[1]

    @property
    def status(self) -> int:
        """Return an answer's status."""
        return int(self.line.split(" ")[1])

    @property
    def stays_open(self) -> bool:
        """Return whether its sender has the connection go on after the message."""
        said = self.tokens("Connection")
        return "keep-alive" in said if "HTTP/1.0" in self.line else "close" not in said

    def encode(self) -> bytes:
        """Return the bytes, with the empty line at the end."""
        lines = (self.line, *(f"{name}: {value}" for name, value in self.fields), "", "")
        return "\r\n".join(lines).encode("latin-1")


def parse_head(data: bytes) -> Head:
    """Return the head that `data` is, with its empty line. Raises MalformedError."""
    line, *rest = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    if _BARE.search(line) or not (_REQUEST.fullmatch(line) or _ANSWER.fullmatch(line)):
        raise MalformedError(f"no first line of HTTP/1: {line!r}")
    fields = []
    for one in rest:
        found = _FIELD.fullmatch(one)
        if found is None or _BARE.search(one):
            raise MalformedError(f"no field: {one!r}")
        fields.append((found[1], found[2].strip()))
    return Head(line=line, fields=tuple(fields))


def request_framing(head: Head) -> Framing:
    """Return where a request's body ends. Raises MalformedError."""
    return _framing(head, otherwise=0)


def response_framing(head: Head, method: str) -> Framing:
    """Return where the body of an answer to `method` ends. Raises MalformedError."""
    if method == "HEAD" or head.status in _EMPTY_STATUSES or head.status < 200:
        return 0
    return _framing(head, otherwise=End.CLOSE)


def _framing(head: Head, *, otherwise: Framing) -> Framing:
    codings = head.tokens("Transfer-Encoding")
    if codings:
        if codings[-1] != "chunked" or head.get("Content-Length"):
            raise MalformedError(f"its body ends nowhere: {head.get('Transfer-Encoding')}")
        return End.CHUNKED
    lengths = set(head.tokens("Content-Length"))
    if not lengths:
        return otherwise
    (length, *others) = lengths
    if others or not _LENGTH.fullmatch(length):
        raise MalformedError(f"no length: {head.get('Content-Length')}")
    return int(length)
