"""How are values written as text, and text cut?"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from terway.lab.kubeapi.cel.values import EvaluationError, no_overload

_SHOWN = (int, str, IPv4Address, IPv6Address, IPv4Network, IPv6Network)


def string(held: Any) -> str:
    """Return `string(held)`. Raises EvaluationError."""
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, _SHOWN):
        return str(held)
    if isinstance(held, float):
        return format(held, ".15g")
    if isinstance(held, bytes):
        return held.decode()
    if isinstance(held, timedelta):
        return f"{held.total_seconds():g}s"
    if isinstance(held, datetime):
        return held.isoformat().replace("+00:00", "Z")
    raise no_overload("string")


def split(held: str, between: str, limit: int = -1) -> list[str]:
    """Return the parts of a text, `limit` at most."""
    if limit == 0:
        return []
    if not between:
        parts = list(held)
        return parts if limit < 0 else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return held.split(between, limit - 1 if limit > 0 else -1)


def substring(held: str, start: int, end: int | None = None) -> str:
    """Return part of a text. Raises EvaluationError for what is outside it."""
    last = len(held) if end is None else end
    if not 0 <= start <= last <= len(held):
        at = start if not 0 <= start <= len(held) else last
        raise EvaluationError(f"index out of range: {at}")
    return held[start:last]


def formatted(template: str, values: list[Any]) -> str:
    """Return a text with values in it: %s, %d, %f, %.2f, %x, %%. Raises EvaluationError."""
    made: list[str] = []
    rest, left = template, list(values)
    while rest:
        before, sign, rest = rest.partition("%")
        made.append(before)
        if not sign:
            break
        if rest.startswith("%"):
            made.append("%")
            rest = rest[1:]
            continue
        width = len(rest) - len(rest.lstrip(".0123456789"))
        digits, verb, rest = rest[:width], rest[width : width + 1], rest[width + 1 :]
        if not left:
            raise EvaluationError(f"index {len(values)} out of range")
        made.append(_one(digits, verb, left.pop(0)))
    return "".join(made)


def _one(digits: str, verb: str, held: Any) -> str:
    match verb:
        case "s":
            return _shown(held)
        case "d" if isinstance(held, int):
            return str(int(held))
        case "x" if isinstance(held, int):
            return format(held, "x")
        case "f" if isinstance(held, int | float):
            return format(float(held), f"{digits or '.6'}f")
        case _:
            raise EvaluationError(f'could not parse formatting clause: "%{digits}{verb}"')


def _shown(held: Any) -> str:
    if held is None:
        return "null"
    if isinstance(held, list):
        return f"[{', '.join(map(_shown, held))}]"
    if isinstance(held, dict):
        return f"{{{', '.join(f'{_shown(k)}: {_shown(held[k])}' for k in sorted(held))}}}"
    return string(held)
