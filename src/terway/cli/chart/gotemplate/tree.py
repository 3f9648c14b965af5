"""What do the words mean? Nodes, one for each thing a template can say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from terway.cli.chart.gotemplate.tokens import Action, TemplateError, Text, split


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, a number, true, false or nil."""

    value: object


@dataclass(frozen=True, slots=True)
class Path:
    """`.a.b` of the dot, or of a variable; the root is "$", the dot "."."""

    root: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments; what a pipeline brings comes last."""

    name: str
    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Field:
    """A field of what an expression gives."""

    of: Expression
    names: tuple[str, ...]


Expression = Literal | Path | Call | Field


@dataclass(slots=True)
class Print:
    """Write what the expression gives."""

    expression: Expression


@dataclass(slots=True)
class Assign:
    """Declare a variable, or give it another value."""

    name: str
    expression: Expression
    declares: bool


@dataclass(slots=True)
class Block:
    """if, with or range. `names` are the variables of a range."""

    kind: str
    expression: Expression
    names: tuple[str, ...] = ()
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


Node = Text | Print | Assign | Block


def parse(text: str) -> tuple[list[Node], dict[str, list[Node]]]:
    """Return what a template writes, and the templates that it defines, by name."""
    reader = _Reader(list(split(text)))
    nodes, end = reader.read(())
    if end is not None:
        raise TemplateError(f"line {end.line}: {end.words[0]} without a beginning")
    return nodes, reader.defined


class _Reader:
    def __init__(self, parts: Sequence[Text | Action]) -> None:
        self._parts = iter(parts)
        self.defined: dict[str, list[Node]] = {}

    def read(self, ends: Iterable[str]) -> tuple[list[Node], Action | None]:
        """Read up to one of `ends`, and return it; None at the end of the text."""
        nodes: list[Node] = []
        for part in self._parts:
            if isinstance(part, Text):
                nodes.append(part)
                continue
            if part.words and part.words[0] in {"end", "else"}:
                if part.words[0] not in ends:
                    raise TemplateError(f"line {part.line}: {part.words[0]} without a beginning")
                return nodes, part
            self._take(part, nodes)
        if "end" in ends:
            raise TemplateError("a block has no end")
        return nodes, None

    def _take(self, part: Action, nodes: list[Node]) -> None:
        match part.words:
            case ("define", name):
                body, _ = self.read(("end",))
                self.defined[json.loads(name)] = body
            case ("if" | "with" | "range" as kind, *words):
                nodes.append(self._block(kind, words, part.line))
            case (name, ":=" | "=" as sign, *words) if name.startswith("$"):
                nodes.append(Assign(name, expression_of(words, part.line), sign == ":="))
            case words:
                nodes.append(Print(expression_of(words, part.line)))

    def _block(self, kind: str, words: Sequence[str], line: int) -> Block:
        names: tuple[str, ...] = ()
        if kind == "range" and ":=" in words:
            at = words.index(":=")
            names = tuple(one for one in words[:at] if one != ",")
            words = words[at + 1 :]
        block = Block(kind, expression_of(words, line), names)
        block.body, end = self.read(("end", "else"))
        assert end is not None
        if end.words[0] == "else":
            if len(end.words) > 1:  # else if …: a block within, which takes the end
                block.otherwise = [self._block(end.words[1], end.words[2:], end.line)]
            else:
                block.otherwise, _ = self.read(("end",))
        return block


def expression_of(words: Sequence[str], line: int) -> Expression:
    """Return what a pipeline says."""
    stages: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += (word == "(") - word.startswith(")")
        if word == "|" and depth == 0:
            stages.append([])
        else:
            stages[-1].append(word)
    value = _stage(stages[0], line, ())
    for stage in stages[1:]:
        value = _stage(stage, line, (value,))
    return value


def _stage(words: Sequence[str], line: int, piped: tuple[Expression, ...]) -> Expression:
    operands = _operands(words, line)
    first = operands[0] if operands else None
    if isinstance(first, Call) and not first.arguments and first.name == words[0]:
        return Call(first.name, (*operands[1:], *piped), line)
    if first is None or len(operands) > 1 or piped:
        raise TemplateError(f"line {line}: {' '.join(words)!r} is no function")
    return first


def _operands(words: Sequence[str], line: int) -> list[Expression]:
    found: list[Expression] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "(":
            end = _closing(words, at, line)
            found.append(expression_of(words[at + 1 : end], line))
            at = end
        elif word.startswith(".."):
            found.append(Field(found.pop(), tuple(word[2:].split("."))))
        else:
            found.append(_operand(word, line))
        at += 1
    return found


def _closing(words: Sequence[str], at: int, line: int) -> int:
    depth = 0
    for end in range(at, len(words)):
        depth += (words[end] == "(") - (words[end] == ")")
        if depth == 0:
            return end
    raise TemplateError(f"line {line}: a parenthesis is not closed")


def _operand(word: str, line: int) -> Expression:
    if word[0] == '"':
        return Literal(json.loads(word))
    if word[0] == "`":
        return Literal(word[1:-1])
    if word[0].isdigit() or word[0] == "-":
        return Literal(float(word) if "." in word else int(word))
    if word in {"true", "false", "nil"}:
        return Literal({"true": True, "false": False, "nil": None}[word])
    if word[0] in ".$":
        root, _, names = word.partition(".")
        return Path(root or ".", tuple(names.split(".")) if names else ())
    return Call(word, (), line)
