"""What does a setting, NAME=VALUE, make of the values that are there?

Names are Helm's: `pool.maxSize`, `securityGroupIDs[0]`, `agent.nodeSelector.example\\.com/a`. The
value is YAML, or a list as Helm writes one: `{sg-1,sg-2}`. Source: Helm, pkg/strvals/parser.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import yaml

from terway.model.errors import UsageError

_DOT = re.compile(r"(?<!\\)\.")  # one with a backslash before it is of the name
_NEXT = re.compile(r"^[^\"'\[{].*,[A-Za-z][\w.\[\]-]*=")  # what Helm takes for one more setting
_PART = re.compile(r"([^\[\]]+)((?:\[\d+\])*)")
# Of a mapping in YAML or JSON; braces without one are Helm's list.
_PAIR = re.compile(r"""["']\s*:|:[\s,}]""")


def with_settings(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return `values` with settings over them, one after the other.

    Raises UsageError for what is no setting, and for a place of a list that comes after a gap.
    """
    return reduce(_with_setting, settings, dict(values))


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with `above` over it, as Helm lays values: maps merge, the rest is replaced.

    None takes a key away.
    """
    both = {**below, **above}
    for name, value in above.items():
        if value is None:
            both.pop(name)
        else:
            both[name] = _merged(below.get(name), value)
    return both


def _merged(below: object, above: object) -> object:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return overlaid(below, above)
    return above


def _with_setting(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    name, sign, said = text.partition("=")
    if not sign or not name:
        raise _refusal(text, "write NAME=VALUE, as pool.maxSize=10")
    if _NEXT.search(said):
        raise _refusal(text, "write --set for each of them, or a text with comma in quotes")
    return overlaid(values, _over(values, _path(name, text), _value(said, text), text))


def _value(said: str, text: str) -> object:
    inner = said.strip()
    is_list = inner.startswith("{") and inner.endswith("}") and not _PAIR.search(inner)
    try:
        return yaml.safe_load(f"[{inner[1:-1]}]" if is_list and inner != "{}" else said)
    except yaml.YAMLError as error:
        raise _refusal(text, f"{said} is not YAML") from error


def _path(name: str, text: str) -> list[str | int]:
    """Return the keys, and places of lists, that a name leads through."""
    path: list[str | int] = []
    for part in _DOT.split(name):
        found = _PART.fullmatch(part)
        if found is None:
            raise _refusal(
                text, "write names as a.b, a place of a list as a[0], a whole list as a={x,y}"
            )
        path.append(found[1].replace("\\.", "."))
        path += map(int, re.findall(r"\d+", found[2]))
    return path


def _over(below: object, path: Sequence[str | int], value: object, text: str) -> Any:
    """Return what is laid over `below` for `value` to be where `path` leads: lists are whole."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, str):
        held = below.get(head) if isinstance(below, Mapping) else None
        return {head: _over(held, rest, value, text)}
    items = list(below) if isinstance(below, list) else []
    if head > len(items):
        raise _refusal(text, f"the list has {len(items)} so far: the next is [{len(items)}]")
    found = items[head] if head < len(items) else None
    return [*items[:head], _merged(found, _over(found, rest, value, text)), *items[head + 1 :]]


def _refusal(text: str, why: str) -> UsageError:
    return UsageError(f"--set {text}: {why}", field="--set")
