"""How do values of expressions compare, and of which type are they?

JSON's values stand for themselves; int and double are Python's, true is no number. What has no
JSON is a value of its own: unsigned numbers, optional values, addresses and their ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

_MOST_INT, _MOST_UINT = (1 << 63) - 1, (1 << 64) - 1
Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network


class EvaluationError(Exception):
    """An expression has no value for these variables; the text is cel-go's."""


class Uint(int):
    """An unsigned number."""


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing."""

    held: tuple[Any, ...] = ()

    @property
    def value(self) -> Any:
        """Return the value. EvaluationError when there is none."""
        if not self.held:
            raise EvaluationError("optional.none() dereference")
        return self.held[0]


NONE = Optional()

_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    (Uint, "uint"),
    (int, "int"),
    (float, "double"),
    (str, "string"),
    (bytes, "bytes"),
    (list, "list"),
    (dict, "map"),
    (datetime, "google.protobuf.Timestamp"),
    (timedelta, "google.protobuf.Duration"),
    ((IPv4Address, IPv6Address), "net.IP"),
    ((IPv4Network, IPv6Network), "net.CIDR"),
    (Optional, "optional_type"),
    (type(None), "null_type"),
)


def type_name(value: Any) -> str:
    """Return the name of a value's type."""
    return next(name for kinds, name in _NAMES if isinstance(value, kinds))


def is_number(value: Any) -> bool:
    """Say whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_equal(left: Any, right: Any) -> bool:
    """Say whether values are equal: numbers of all types are, other types never are."""
    if is_number(left) and is_number(right):
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_equal(left[k], right[k]) for k in left)
    return bool(left == right)


def contains(held: Any, wanted: Any) -> bool:
    """Say whether a list or map has a value. EvaluationError of anything else."""
    if isinstance(held, list):
        return any(is_equal(one, wanted) for one in held)
    if isinstance(held, dict):
        return key_of(held, wanted) is not None
    raise no_overload()


def key_of(held: dict[Any, Any], wanted: Any) -> tuple[Any] | None:
    """Return the key of a map that equals the wanted one, None where none does."""
    if isinstance(wanted, list | dict):
        raise no_overload()
    is_there = wanted in held and not any(
        isinstance(one, bool) is not isinstance(wanted, bool) for one in held if one == wanted
    )
    return (wanted,) if is_there else None


def no_overload(of: str = "") -> EvaluationError:
    """Return the error of values that an operation is not made for."""
    return EvaluationError(f"no such overload: {of}" if of else "no such overload")


def in_range(number: int) -> int:
    """Return a result of integers. EvaluationError beyond 64 bits."""
    is_unsigned = isinstance(number, Uint)
    least, most = (0, _MOST_UINT) if is_unsigned else (-_MOST_INT - 1, _MOST_INT)
    if not least <= number <= most:
        raise EvaluationError(f"{'unsigned ' if is_unsigned else ''}integer overflow")
    return number
