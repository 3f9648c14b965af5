"""What does a printer column's JSONPath find? The simple paths that a CRD may have.

    .spec.phase   .status.conditions[?(@.type=="Ready")].status   .metadata.labels.a\\.b
    .items[0].name   .items[*].name   ['a.b']

Source: Kubernetes docs "JSONPath support"; k8s.io/client-go util/jsonpath.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_FIELD = re.compile(r"\.((?:\\.|[^.\[\\])+)")
_QUOTED = re.compile(r"\[(['\"])(.*?)\1\]")
_INDEX = re.compile(r"\[(-?\d+|\*)\]")
_FILTER = re.compile(
    r"\[\?\(\s*@((?:\.(?:\\.|[^.\[\\=!\s])+)+)\s*(==|!=)\s*(\"[^\"]*\"|'[^']*'|[^)\s]+)\s*\)\]"
)


class JsonPathError(Exception):
    """The text is no path of this kind."""


def compile_path(text: str) -> Step:
    """Return what finds `text` in an object. JsonPathError for what is not a simple path."""
    steps = tuple(_steps(text.strip().removeprefix("$")))

    def find(value: Any) -> Iterator[Any]:
        found = [value]
        for step in steps:
            found = [inner for held in found for inner in step(held)]
        yield from found

    return find


def _steps(text: str) -> Iterator[Step]:
    at = 0
    while at < len(text):
        if match := _FIELD.match(text, at):
            yield _field(re.sub(r"\\(.)", r"\1", match.group(1)))
        elif match := _QUOTED.match(text, at):
            yield _field(match.group(2))
        elif match := _INDEX.match(text, at):
            yield _everything if match.group(1) == "*" else _item(int(match.group(1)))
        elif match := _FILTER.match(text, at):
            yield _filter(*match.groups())
        else:
            raise JsonPathError(f"invalid JSONPath at {text[at:]!r}")
        at = match.end()


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if name == "*":
            yield from _everything(value)
        elif isinstance(value, dict) and value.get(name) is not None:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _everything(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _filter(path: str, operator: str, wanted: str) -> Step:
    inner = compile_path(path)
    text = wanted.strip("\"'")

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = next(inner(item), None)
            shown = str(found).lower() if isinstance(found, bool) else str(found)
            if (found is not None and shown == text) is (operator == "=="):
                yield item

    return step
