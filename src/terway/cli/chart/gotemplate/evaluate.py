"""What does a template write, with these values?"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from terway.cli.chart.gotemplate.functions import FUNCTIONS, is_true, text_of
from terway.cli.chart.gotemplate.tokens import TemplateError, Text
from terway.cli.chart.gotemplate.tree import (
    Assign,
    Block,
    Call,
    Expression,
    Field,
    Literal,
    Node,
    Path,
    Print,
    parse,
)

Variables = ChainMap[str, Any]


class Templates:
    """A set of templates that know each other's definitions."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._parsed: dict[str, list[Node]] = {}
        self._defined: dict[str, list[Node]] = {}
        for name, text in texts.items():
            try:
                self._parsed[name], defined = parse(text)
            except TemplateError as error:
                raise TemplateError(f"{name}: {error}") from error
            self._defined |= defined

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """Return what the template `name` writes. TemplateError says where it cannot."""
        try:
            return self._write(self._parsed[name], values, ChainMap({"$": values}))
        except TemplateError as error:
            raise TemplateError(f"{name}: {error}") from error

    def _write(self, nodes: Sequence[Node], dot: Any, variables: Variables) -> str:
        return "".join(self._pieces(nodes, dot, variables))

    def _pieces(self, nodes: Sequence[Node], dot: Any, variables: Variables) -> Iterator[str]:
        for node in nodes:
            match node:
                case Text(text):
                    yield text
                case Print(expression):
                    yield text_of(self._value(expression, dot, variables))
                case Assign(name, expression, declares):
                    _assign(variables, name, self._value(expression, dot, variables), declares)
                case Block(kind="range"):
                    yield from self._range(node, dot, variables)
                case Block():
                    yield self._choose(node, dot, variables)

    def _choose(self, block: Block, dot: Any, variables: Variables) -> str:
        value = self._value(block.expression, dot, variables)
        inner = variables.new_child()
        if not is_true(value):
            return self._write(block.otherwise, dot, inner)
        return self._write(block.body, value if block.kind == "with" else dot, inner)

    def _range(self, block: Block, dot: Any, variables: Variables) -> Iterator[str]:
        value = self._value(block.expression, dot, variables)
        if not value:
            yield self._write(block.otherwise, dot, variables.new_child())
            return
        pairs = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            names = (key, one)[-len(block.names) :] if block.names else ()
            own = dict(zip(block.names, names, strict=True))
            yield self._write(block.body, one, variables.new_child(own))

    def _value(self, expression: Expression, dot: Any, variables: Variables) -> Any:
        match expression:
            case Literal(value):
                return value
            case Path(root, names):
                if root != "." and root not in variables:
                    raise TemplateError(f"{root} is not declared")
                return _field(dot if root == "." else variables[root], names)
            case Field(of, names):
                return _field(self._value(of, dot, variables), names)
            case Call(name, arguments, line):
                given = [self._value(one, dot, variables) for one in arguments]
                return self._call(name, given, line)

    def _call(self, name: str, given: list[Any], line: int) -> Any:
        if name == "include":
            return self._include(*given)
        if name not in FUNCTIONS:
            raise TemplateError(f"line {line}: function {name!r} is not known here")
        try:
            return FUNCTIONS[name](*given)
        except TemplateError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise TemplateError(f"line {line}: {name}: {error}") from error

    def _include(self, name: str, dot: Any) -> str:
        if name not in self._defined:
            raise TemplateError(f"no template defines {name!r}")
        return self._write(self._defined[name], dot, ChainMap({"$": dot}))


def _assign(variables: Variables, name: str, value: Any, declares: bool) -> None:
    if declares:
        variables[name] = value
        return
    for scope in variables.maps:
        if name in scope:
            scope[name] = value
            return
    raise TemplateError(f"{name} is not declared")


def _field(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        if value is None:
            raise TemplateError(f"nil has no field .{'.'.join(names)}")
        if not isinstance(value, Mapping):
            raise TemplateError(f"{text_of(value)!r} has no field {name!r}")
        value = value.get(name)
    return value
