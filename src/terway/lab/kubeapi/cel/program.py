"""Is this text an expression that can be evaluated, and what does it say?

A name that is no variable and a function that is none are found before anything is evaluated, as is
a result that cannot be of the wanted type: of variables, nothing is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, assert_never

from terway.lab.kubeapi.cel.evaluating import Variables, evaluate, is_type
from terway.lab.kubeapi.cel.functions import FUNCTIONS
from terway.lab.kubeapi.cel.parsing import parse
from terway.lab.kubeapi.cel.syntax import (
    Bind,
    Call,
    Each,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Name,
    Node,
    Operation,
    Select,
)
from terway.lab.kubeapi.cel.tokens import CompileError
from terway.lab.kubeapi.cel.values import type_name

DYN = "dyn"  # the type of what nothing is known of
_LOGICAL = ("&&", "||", "!_", "==", "!=", "<", "<=", ">", ">=", "in")
_RESULTS = {
    "bool": "contains startsWith endsWith matches isSorted hasValue bool isIP isCIDR containsIP",
    "string": "string lowerAscii upperAscii replace substring trim format join charAt find",
    "int": "size int indexOf lastIndexOf family prefixLength",
    "list": "split findAll",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An expression, ready to be evaluated. `type` is `dyn` where only a value can tell."""

    text: str
    tree: Node
    type: str

    def evaluate(self, variables: Variables) -> Any:
        """Return the value. Raises EvaluationError."""
        return evaluate(self.tree, variables)

    def mentions(self, variable: str) -> bool:
        """Say whether the expression is about a variable."""
        return any(isinstance(one, Name) and one.name == variable for one in walk(self.tree))


@lru_cache(maxsize=1024)
def compile_program(text: str, variables: frozenset[str]) -> Program:
    """Return the program of an expression over `variables`.

    Raises CompileError, which shows the place as cel-go does.
    """
    try:
        tree = parse(text)
        _check(tree, variables)
    except CompileError as error:
        raise CompileError(_placed(error, text), error.at) from error
    return Program(text=text, tree=tree, type=type_of(tree))


def _placed(error: CompileError, text: str) -> str:
    before = text[: error.at]
    line, column = before.count("\n") + 1, error.at - (before.rfind("\n") + 1)
    shown = text.split("\n")[line - 1]
    where = f"ERROR: <input>:{line}:{column + 1}: {error.why}"
    return f"{where}\n | {shown}\n | {'.' * column}^"


def _check(node: Node, known: frozenset[str]) -> None:
    match node:
        case Name(name=name) if name not in known and not is_type(name):
            raise CompileError(f"undeclared reference to '{name}' (in container '')", node.at)
        case Call(function=name) if name not in FUNCTIONS:
            raise CompileError(f"undeclared reference to '{name}' (in container '')", node.at)
        case Each(operand=operand, variable=variable, body=body, condition=condition):
            _check(operand, known)
            for one in (body, condition):
                if one is not None:
                    _check(one, known | {variable})
        case Bind(variable=variable, value=value, body=body):
            _check(value, known)
            _check(body, known | {variable})
        case _:
            for one in _children(node):
                _check(one, known)


def _children(node: Node) -> Iterator[Node]:
    match node:
        case Literal() | Name():
            pass
        case Select(operand=operand) | Has(operand=operand):
            yield operand
        case Index(operand=operand, index=index):
            yield from (operand, index)
        case Call(target=target, arguments=arguments):
            yield from arguments if target is None else (target, *arguments)
        case Operation(operands=operands):
            yield from operands
        case Each(operand=operand, body=body, condition=condition):
            yield from (operand, body) if condition is None else (operand, body, condition)
        case Bind(value=value, body=body):
            yield from (value, body)
        case ListOf(items=items):
            yield from items
        case MapOf(entries=entries):
            yield from (one for entry in entries for one in entry)
        case _:
            assert_never(node)


def walk(node: Node) -> Iterator[Node]:
    """Yield every part of a tree."""
    yield node
    for one in _children(node):
        yield from walk(one)


def type_of(node: Node) -> str:
    """Return the type of a tree's value, `dyn` if that depends on its variables."""
    match node:
        case Literal(value=value):
            return type_name(value)
        case Operation():
            return _operation_type(node)
        case Bind(body=body):
            return type_of(body)
        case Call(function=name):
            return next((one for one, names in _RESULTS.items() if name in names.split()), DYN)
        case _:
            return _form_type(node)


def _operation_type(node: Operation) -> str:
    if node.sign in _LOGICAL:
        return "bool"
    known = [type_of(one) for one in node.operands[node.sign == "?:" :]]
    if node.sign == "?:":
        return known[0] if known[0] == known[1] else DYN
    return next((one for one in known if one != DYN), DYN)


def _form_type(node: Node) -> str:
    match node:
        case Has() | Each(macro="all" | "exists" | "exists_one"):
            return "bool"
        case Each() | ListOf():
            return "list"
        case MapOf():
            return "map"
        case _:
            return DYN
