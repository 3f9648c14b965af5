"""How do parameters become a query? Lists and objects flattened, names sorted, all escaped.

What is sent and what is signed are the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"] | None


def flatten(parameters: Mapping[str, Value]) -> dict[str, str]:
    """Return `parameters` as the query wants them: ``Tag.1.Key``, ``true``; None is left out."""
    return {name: text for key, value in parameters.items() for name, text in _flat(key, value)}


def _flat(name: str, value: Value) -> Iterator[tuple[str, str]]:
    match value:
        case None:
            return
        case bool():
            yield name, "true" if value else "false"
        case str() | int():
            yield name, str(value)
        case Mapping():
            for key, inner in value.items():
                yield from _flat(f"{name}.{key}", inner)
        case _:
            for index, inner in enumerate(value, 1):
                yield from _flat(f"{name}.{index}", inner)


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return the query string, sorted by name."""
    return "&".join(
        f"{percent_encode(name)}={percent_encode(value)}"
        for name, value in sorted(parameters.items())
    )


def percent_encode(text: str) -> str:
    """Return `text` with everything but RFC 3986's unreserved characters escaped."""
    return quote(text, safe="-_.~")
