"""Of which tokens is an expression made?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.cel.values import Uint

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>(?:0[xX][0-9a-fA-F]+|\d+)[uU]?)
  | (?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
      |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign>&&|\|\||==|!=|<=|>=|\.\?|\[\?|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<o>[0-3][0-7]{2})|(?P<c>.))",
    re.DOTALL,
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_KEPT = "\\\"'`?"
_MOST_UINT, _LEAST_INT = (1 << 64) - 1, 1 << 63


class CompileError(Exception):
    """The text is no expression. `at` is the offset at which that shows."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.why = why
        self.at = at


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token; `value` is what a literal stands for."""

    kind: str  # literal, name, sign, end
    text: str
    at: int
    value: Any = None


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of an expression, and one of kind `end`. Raises CompileError."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise CompileError(f"Syntax error: token recognition error at: '{text[at]}'", at)
        kind, held = str(match.lastgroup), match.group()
        if kind in ("double", "int", "string"):
            yield Token(kind="literal", text=held, at=at, value=_value(kind, held, at))
        elif kind != "space":
            yield Token(kind=kind, text=held, at=at)
        at = match.end()
    yield Token(kind="end", text="<EOF>", at=at)


def _value(kind: str, text: str, at: int) -> Any:
    if kind == "double":
        return float(text)
    if kind == "string":
        return _text(text, at)
    is_unsigned = text[-1] in "uU" and not text.isalpha()
    number = int(text.rstrip("uU"), 0 if text[:2].lower() == "0x" else 10)
    # The least integer is written as its negation, which is one too many.
    if number > (_MOST_UINT if is_unsigned else _LEAST_INT):
        raise CompileError("invalid int literal", at)
    return Uint(number) if is_unsigned else number


def _text(text: str, at: int) -> str | bytes:
    prefix = re.match(r"[rRbB]*", text)
    marks = prefix.group().lower() if prefix else ""
    body = text[len(marks) :]
    width = 3 if body[:3] in ('"""', "'''") else 1
    inner = body[width:-width]
    plain = inner if "r" in marks else _ESCAPE.sub(lambda one: _escaped(one, at), inner)
    return plain.encode() if "b" in marks else plain


def _escaped(match: re.Match[str], at: int) -> str:
    if char := match.group("c"):
        if char in _KEPT:
            return char
        if char not in _PLAIN:
            raise CompileError(f"Syntax error: token recognition error at: '\\{char}'", at)
        return _PLAIN[char]
    if octal := match.group("o"):
        return chr(int(octal, 8))
    digits = match.group("x") or match.group("u") or match.group("U")
    return chr(int(digits, 16))
