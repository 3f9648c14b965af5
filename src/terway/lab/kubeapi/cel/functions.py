"""Which functions do expressions have, and what do they make of values?

The language's own, cel-go's extension for strings, and the libraries of Kubernetes for lists,
regular expressions, and addresses. A method's target is its function's first argument.
Source: k8s.io/apiserver pkg/cel/library; github.com/google/cel-go ext/strings.go.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from terway.lab.kubeapi.cel import texts
from terway.lab.kubeapi.cel.operators import operate
from terway.lab.kubeapi.cel.values import (
    NONE,
    Address,
    EvaluationError,
    Optional,
    Range,
    Uint,
    in_range,
    is_equal,
    is_number,
    no_overload,
    type_name,
)

Function = Callable[..., Any]
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"-?(?:\d+(?:\.\d*)?(?:h|ms|us|ns|m|s))+|0")


def call(name: str, arguments: list[Any]) -> Any:
    """Return what a function makes of its arguments. Raises EvaluationError."""
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, AttributeError, re.error) as error:
        raise no_overload(name) from error


def _size(held: Any) -> int:
    if not isinstance(held, str | bytes | list | dict):
        raise no_overload("size")
    return len(held)


def _int(held: Any) -> int:
    if isinstance(held, bool) or not isinstance(held, int | float | str | datetime):
        raise no_overload("int")
    try:
        return in_range(int(held.timestamp() if isinstance(held, datetime) else held))
    except (ValueError, OverflowError) as error:
        raise EvaluationError(f"strconv.ParseInt: parsing {held!r}: invalid syntax") from error


def _double(held: Any) -> float:
    if not is_number(held) and not isinstance(held, str):
        raise no_overload("double")
    try:
        return float(held)
    except ValueError as error:
        raise EvaluationError(f"strconv.ParseFloat: parsing {held!r}: invalid syntax") from error


def _bool(held: Any) -> bool:
    said = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    found = held if isinstance(held, bool) else said.get(held.lower())
    if found is None:
        raise EvaluationError(f'strconv.ParseBool: parsing "{held}": invalid syntax')
    return found


def duration(text: str) -> timedelta:
    """Return the time that Go's words mean. Raises EvaluationError."""
    if not _DURATION.fullmatch(text):
        raise EvaluationError(f'time: invalid duration "{text}"')
    parts = re.findall(r"([\d.]+)(h|ms|us|ns|m|s)", text)
    held = timedelta(seconds=sum(float(count) * _UNIT_S[unit] for count, unit in parts))
    return -held if text.startswith("-") else held


def timestamp(text: str) -> datetime:
    """Return the moment that RFC 3339's words mean. Raises EvaluationError."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise EvaluationError(f'parsing time "{text}" as RFC 3339') from error


def _contains(held: Any, wanted: Any) -> bool:
    if not isinstance(held, str):
        raise no_overload("contains")
    return wanted in held


def _matches(held: str, pattern: str) -> bool:
    return re.search(pattern, held) is not None


def _find_all(held: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group() for match in re.finditer(pattern, held)]
    return found if limit < 0 else found[:limit]


def _find(held: str, pattern: str) -> str:
    return next(iter(_find_all(held, pattern)), "")


def _is_sorted(held: list[Any]) -> bool:
    return all(operate("<=", one, two) for one, two in itertools.pairwise(held))


def _sum(held: list[Any]) -> Any:
    total = held[0] if held else 0
    for one in held[1:]:
        total = operate("+", total, one)
    return total


def _extreme(sign: str, held: list[Any]) -> Any:
    if not held:
        raise EvaluationError("min called on empty list" if sign == "<" else "max called on empty")
    best = held[0]
    for one in held[1:]:
        best = one if operate(sign, one, best) else best
    return best


def _index_of(held: Any, wanted: Any, *rest: int) -> int:
    if isinstance(held, str):
        return held.find(wanted, *rest)
    return next((at for at, one in enumerate(held) if is_equal(one, wanted)), -1)


def _last_index_of(held: Any, wanted: Any) -> int:
    if isinstance(held, str):
        return held.rfind(wanted)
    last = -1
    for at, one in enumerate(held):
        last = at if is_equal(one, wanted) else last
    return last


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        why = f'IP Address "{text}" parse error during conversion from string: {error}'
        raise EvaluationError(why) from error


def _range(text: str) -> Range:
    try:
        return ip_network(text)
    except ValueError as error:
        why = f"network address parse error during conversion from string: {error}"
        raise EvaluationError(why) from error


def _is(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except EvaluationError:
        return False
    return True


def _ip(held: Any) -> Address:
    return _address(held) if isinstance(held, str) else held.network_address


def _contains_ip(held: Range, wanted: Address | str) -> bool:
    return (_address(wanted) if isinstance(wanted, str) else wanted) in held


def _contains_range(held: Range, wanted: Range | str) -> bool:
    other = _range(wanted) if isinstance(wanted, str) else wanted
    return other.version == held.version and other.subnet_of(held)  # type: ignore[arg-type]  # same


def _or(held: Optional, other: Optional) -> Optional:
    return held if held.held else other


def _or_value(held: Optional, other: Any) -> Any:
    return held.value if held.held else other


def _of_non_zero(held: Any) -> Optional:
    return Optional((held,)) if held else NONE


FUNCTIONS: dict[str, Function] = {
    "size": _size,
    "int": _int,
    "uint": lambda held: in_range(Uint(_int(held))),
    "double": _double,
    "bool": _bool,
    "string": texts.string,
    "bytes": lambda held: held if isinstance(held, bytes) else held.encode(),
    "dyn": lambda held: held,
    "type": type_name,
    "duration": duration,
    "timestamp": timestamp,
    "contains": _contains,
    "startsWith": lambda held, start: held.startswith(start),
    "endsWith": lambda held, end: held.endswith(end),
    "matches": _matches,
    "find": _find,
    "findAll": _find_all,
    "charAt": lambda held, at: held[at : at + 1],
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "join": lambda held, between="": between.join(held),
    "lowerAscii": lambda held: held.lower(),
    "upperAscii": lambda held: held.upper(),
    "replace": lambda held, old, new, count=-1: held.replace(old, new, count),
    "split": texts.split,
    "substring": texts.substring,
    "trim": lambda held: held.strip(),
    "format": texts.formatted,
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": lambda held: _extreme("<", held),
    "max": lambda held: _extreme(">", held),
    "getSeconds": lambda held: int(held.total_seconds()),
    "getMinutes": lambda held: int(held.total_seconds() // 60),
    "getHours": lambda held: int(held.total_seconds() // 3600),
    "isIP": lambda text: _is(_address, text),
    "isCIDR": lambda text: _is(_range, text),
    "ip": _ip,
    "cidr": _range,
    "family": lambda held: held.version,
    "prefixLength": lambda held: held.prefixlen,
    "masked": lambda held: held,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_range,
    "optional.of": lambda held: Optional((held,)),
    "optional.none": lambda: NONE,
    "optional.ofNonZeroValue": _of_non_zero,
    "hasValue": lambda held: bool(held.held),
    "value": lambda held: held.value,
    "or": _or,
    "orValue": _or_value,
}
