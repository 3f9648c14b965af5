"""How does a value of ours become JSON, and how is it read back?

Frozen dataclasses, tuples, sets, enums, bytes and addresses, as their type hints say. msgspec does
not do it: it takes one custom type in a union, and half of our fields are IPv4 or IPv6. A union of
dataclasses is told apart by a field "_type" with the class's name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from terway.model.errors import UsageError

T = TypeVar("T")

_ADDRESSES: dict[object, Any] = {
    ipaddress.IPv4Address: ipaddress.IPv4Address,
    ipaddress.IPv6Address: ipaddress.IPv6Address,
    ipaddress.IPv4Network: ipaddress.IPv4Network,
    ipaddress.IPv6Network: ipaddress.IPv6Network,
    ipaddress.IPv4Interface: ipaddress.IPv4Interface,
    ipaddress.IPv6Interface: ipaddress.IPv6Interface,
}
_ATOMS = (str, int, float, bool, NoneType)


def plain(value: object) -> Any:
    """Return `value` as dicts, lists and atoms, ready for json.dumps."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: plain(getattr(value, one.name)) for one in fields(value)}
        return {"_type": type(value).__name__, **parts}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def parse(kind: type[T], raw: Any) -> T:
    """Return the value of type `kind` that `plain` made `raw` of.

    Fields that are missing have their defaults, unknown ones are passed over: a bundle may come
    from another version. Raises UsageError when it cannot be read.
    """
    try:
        value: T = _parse(kind, raw)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise UsageError(f"cannot read a {kind.__name__}: {error}", field=kind.__name__) from error
    return value


def _parse(kind: Any, raw: Any) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # a NewType
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _parse_union(get_args(kind), raw)
    if origin is not None:
        return _parse_many(origin, get_args(kind), raw)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        known = (one.name for one in fields(kind) if one.init and one.name in raw)
        return kind(**{name: _parse(hints[name], raw[name]) for name in known})
    return _parse_one(kind, raw)


def _parse_one(kind: Any, raw: Any) -> Any:
    if kind is bytes:
        return bytes.fromhex(raw)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(tuple(raw) if isinstance(raw, list) else raw)
    return kind(raw) if kind in _ADDRESSES else raw


def _parse_many(origin: Any, arguments: tuple[Any, ...], raw: Any) -> Any:
    if origin is tuple:
        return _parse_tuple(arguments, raw)
    if origin is frozenset:
        return frozenset(_parse(arguments[0], one) for one in raw)
    return {key: _parse(arguments[1], one) for key, one in raw.items()}


def _parse_tuple(arguments: tuple[Any, ...], raw: Any) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_parse(arguments[0], one) for one in raw)
    return tuple(_parse(one, part) for one, part in zip(arguments, raw, strict=True))


def _parse_union(choices: tuple[Any, ...], raw: Any) -> Any:
    if raw is None:
        return None
    choices = tuple(one for one in choices if one is not NoneType)
    if isinstance(raw, dict) and "_type" in raw:
        return _parse(next(one for one in choices if one.__name__ == raw["_type"]), raw)
    if all(one in _ADDRESSES for one in choices):
        return _parse_address(choices, raw)
    return _parse(choices[0], raw)


def _parse_address(choices: tuple[Any, ...], raw: str) -> Any:
    for choice in choices:
        try:
            return choice(raw)
        except ValueError:
            continue
    raise ValueError(f"{raw!r} is no {' or '.join(one.__name__ for one in choices)}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
