"""Of which parts is an expression made? The tree that parsing makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A value that is written down."""

    at: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A variable."""

    at: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A field of something: `a.b`, or `a.?b`."""

    at: int
    operand: Node
    field: str
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An item of a list or map: `a[b]`, or `a[?b]`."""

    at: int
    operand: Node
    index: Node
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function, or, with a `target`, a method; names of functions may have dots."""

    at: int
    function: str
    target: Node | None = None
    arguments: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operator, `?:` among them, and what it is applied to."""

    at: int
    sign: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Has:
    """The macro `has(a.b)`."""

    at: int
    operand: Node
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """A macro over a list's items or a map's keys: all, exists, exists_one, map, filter.

    `condition` is what `map` with three arguments chooses by.
    """

    at: int
    macro: str
    operand: Node
    variable: str
    body: Node
    condition: Node | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """The macro `cel.bind(name, value, body)`."""

    at: int
    variable: str
    value: Node
    body: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """A list that is written down."""

    at: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOf:
    """A map that is written down."""

    at: int
    entries: tuple[tuple[Node, Node], ...]


Node = Literal | Name | Select | Index | Call | Operation | Has | Each | Bind | ListOf | MapOf
