"""What is the value of an expression's tree, where its variables have these values?

`||`, `&&`, all and exists need no value of a side that decides nothing, even where it would be an
error: so the order in which they are written does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, assert_never

from terway.lab.kubeapi.cel.functions import call
from terway.lab.kubeapi.cel.operators import negate, operate
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
from terway.lab.kubeapi.cel.values import (
    NONE,
    EvaluationError,
    Optional,
    is_equal,
    key_of,
    no_overload,
)

Variables = Mapping[str, Any]
_TYPES = ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type")


def evaluate(node: Node, variables: Variables) -> Any:  # noqa: PLR0911 - a branch per form
    """Return the value of a tree. Raises EvaluationError."""
    match node:
        case Literal(value=value):
            return value
        case Name(name=name):
            return variables.get(name, name)  # what is no variable is the name of a type
        case Select() | Index():
            return _member(node, variables)
        case Call():
            return _call(node, variables)
        case Operation():
            return _operation(node, variables)
        case Has(operand=operand, field=field):
            return _has(evaluate(operand, variables), field)
        case Each():
            return _each(node, variables)
        case Bind(variable=variable, value=value, body=body):
            return evaluate(body, {**variables, variable: evaluate(value, variables)})
        case ListOf(items=items):
            return [evaluate(one, variables) for one in items]
        case MapOf(entries=entries):
            return {evaluate(k, variables): evaluate(v, variables) for k, v in entries}
        case _:
            assert_never(node)


def is_type(name: str) -> bool:
    """Say whether a name is that of a type."""
    return name in _TYPES


def _call(node: Call, variables: Variables) -> Any:
    arguments = [evaluate(one, variables) for one in node.arguments]
    if node.target is not None:
        arguments.insert(0, evaluate(node.target, variables))
    return call(node.function, arguments)


def _member(node: Select | Index, variables: Variables) -> Any:
    held = evaluate(node.operand, variables)
    wanted = node.field if isinstance(node, Select) else evaluate(node.index, variables)
    if isinstance(held, Optional):
        if not held.held:
            return NONE
        return _maybe(held.value, wanted)
    return _maybe(held, wanted) if node.is_optional else _item(held, wanted)


def _maybe(held: Any, wanted: Any) -> Optional:
    if isinstance(held, dict):
        return Optional((held[wanted],)) if key_of(held, wanted) else NONE
    is_there = isinstance(held, list) and isinstance(wanted, int) and 0 <= wanted < len(held)
    return Optional((held[wanted],)) if is_there else NONE


def _item(held: Any, wanted: Any) -> Any:
    if isinstance(held, dict):
        if key_of(held, wanted) is None:
            raise EvaluationError(f"no such key: {wanted}")
        return held[wanted]
    if isinstance(held, list) and isinstance(wanted, int) and not isinstance(wanted, bool):
        if not 0 <= wanted < len(held):
            raise EvaluationError(f"index out of bounds: {wanted}")
        return held[wanted]
    raise no_overload()


def _has(held: Any, field: str) -> bool:
    found = held.held[0] if isinstance(held, Optional) and held.held else held
    if isinstance(found, Optional):
        return False
    if not isinstance(found, dict):
        raise no_overload()
    return field in found


def _operation(node: Operation, variables: Variables) -> Any:
    values = (lambda one=one: evaluate(one, variables) for one in node.operands)
    match node.sign:
        case "&&" | "||":
            return _decided(values, by=node.sign == "||")
        case "?:":
            asked, yes, no = node.operands
            return evaluate(yes if _truth(evaluate(asked, variables)) else no, variables)
        case "!_":
            return not _truth(evaluate(node.operands[0], variables))
        case "-_":
            return negate(evaluate(node.operands[0], variables))
        case sign:
            left, right = (evaluate(one, variables) for one in node.operands)
            return operate(sign, left, right)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise no_overload()
    return value


def _decided(values: Iterable[Callable[[], Any]], *, by: bool) -> bool:
    """Return `by` if one value is it, and else its opposite, unless one is an error."""
    trouble: EvaluationError | None = None
    for value in values:
        try:
            if _truth(value()) is by:
                return by
        except EvaluationError as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble
    return not by


def _each(node: Each, variables: Variables) -> Any:
    held = evaluate(node.operand, variables)
    if not isinstance(held, list | dict):
        raise no_overload()
    items = list(held)

    def of(body: Node, item: Any) -> Any:
        return evaluate(body, {**variables, node.variable: item})

    match node.macro:
        case "all" | "exists":
            bodies = (lambda item=item: of(node.body, item) for item in items)
            return _decided(bodies, by=node.macro == "exists")
        case "exists_one":
            return is_equal(sum(_truth(of(node.body, item)) for item in items), 1)
        case "filter":
            return [item for item in items if _truth(of(node.body, item))]
        case _:
            chosen = node.condition
            return [
                of(node.body, item) for item in items if chosen is None or _truth(of(chosen, item))
            ]
