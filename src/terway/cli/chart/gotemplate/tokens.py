"""What are the words of a template? Text, and what stands between {{ and }}."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


class TemplateError(Exception):
    """A template cannot be read, or cannot be rendered with these values."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stays as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """The words of one action, and its line for messages."""

    words: tuple[str, ...]
    line: int


_BODY = r"(?P<body>(?:/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|`[^`]*`|.)*?)"
_ACTION = re.compile(r"\{\{(?P<left>-\s)?\s*" + _BODY + r"\s*(?P<right>\s-)?\}\}", re.S)
_WORD = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<punctuation>:=|[|(),=])
  | (?P<path>\$?[A-Za-z_]\w*(?:\.\w+)*|\$(?:\.\w+)*|\.(?:\w+(?:\.\w+)*)?)
    """,
    re.X,
)


def split(text: str) -> Iterator[Text | Action]:
    """Yield the parts of a template. TemplateError for an action that has no words."""
    at, trims = 0, False
    for found in _ACTION.finditer(text):
        before = text[at : found.start()]
        before = before.lstrip() if trims else before
        yield Text(before.rstrip() if found.group("left") else before)
        body = found.group("body")
        if not body.startswith("/*"):
            yield Action(tuple(_words(body, line := text.count("\n", 0, found.start()) + 1)), line)
        at, trims = found.end(), bool(found.group("right"))
    rest = text[at:]
    yield Text(rest.lstrip() if trims else rest)


def _words(body: str, line: int) -> Iterator[str]:
    at = 0
    while at < len(body):
        found = _WORD.match(body, at)
        if found is None:
            raise TemplateError(f"line {line}: cannot read {body[at:]!r}")
        if found.lastgroup != "space":
            # A field of what parentheses give: `(f x).name`.
            joined = found.lastgroup == "path" and found.group()[0] == "." and at > 0
            yield "." + found.group() if joined and body[at - 1] == ")" else found.group()
        at = found.end()
