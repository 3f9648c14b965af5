"""What do the operators of expressions make of values?"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from terway.lab.kubeapi.cel.values import (
    EvaluationError,
    Uint,
    contains,
    in_range,
    is_equal,
    is_number,
    no_overload,
)

_ORDERED = (str, bytes, bool, datetime, timedelta)


def operate(sign: str, left: Any, right: Any) -> Any:
    """Return what a binary operator makes of two values. Raises EvaluationError."""
    match sign:
        case "==":
            return is_equal(left, right)
        case "!=":
            return not is_equal(left, right)
        case "in":
            return contains(right, left)
        case "<" | "<=" | ">" | ">=":
            return _compare(_COMPARE[sign], left, right)
        case _:
            return _calculate(sign, left, right)


def negate(value: Any) -> Any:
    """Return `-value`. Raises EvaluationError."""
    if isinstance(value, timedelta | float):
        return -value
    if not is_number(value) or isinstance(value, Uint):
        raise no_overload()
    return in_range(-value)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _compare(how: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if is_number(left) and is_number(right):
        return how(left, right)
    if type(left) is type(right) and isinstance(left, _ORDERED):
        return how(left, right)
    raise no_overload()


def _calculate(sign: str, left: Any, right: Any) -> Any:
    if is_number(left) and type(left) is type(right):
        return _double(sign, left, right) if isinstance(left, float) else _int(sign, left, right)
    is_same = type(left) is type(right)
    if sign == "+" and is_same and isinstance(left, str | bytes | list):
        return left + right
    is_time = isinstance(left, timedelta) or isinstance(right, timedelta)
    if sign in "+-" and (is_time or (is_same and isinstance(left, datetime))):
        try:
            return left + right if sign == "+" else left - right
        except (TypeError, OverflowError) as error:
            raise no_overload() from error
    raise no_overload()


def _double(sign: str, left: float, right: float) -> float:
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right if right else math.copysign(math.inf, left) if left else math.nan
        case _:
            raise no_overload()


def _int(sign: str, left: int, right: int) -> int:
    made = type(left)
    match sign:
        case "+":
            return in_range(made(left + right))
        case "-":
            return in_range(made(left - right))
        case "*":
            return in_range(made(left * right))
        case _:
            return in_range(made(_divided(sign, left, right)))


def _divided(sign: str, left: int, right: int) -> int:
    if not right:
        raise EvaluationError("division by zero" if sign == "/" else "modulus by zero")
    quotient = abs(left) // abs(right) * (-1 if (left < 0) is not (right < 0) else 1)
    return quotient if sign == "/" else left - quotient * right
