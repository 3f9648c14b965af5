"""What does an untyped object say in a field? Refuses, by path, what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from terway.model.errors import UsageError


def refusal(path: str, value: object, remedy: str) -> UsageError:
    """Return the error that names field, value and remedy."""
    return UsageError(f"{path} is {value!r}: {remedy}", field=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An object of a manifest, and the path to it. A field that is null is absent, as in the API.

    Every reading raises UsageError when the field has another type.
    """

    path: str
    values: Mapping[str, object]

    def at(self, key: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Return whether the field is there."""
        return self.values.get(key) is not None

    def table(self, key: str) -> Table:
        """Return the object in the field; an absent one is empty."""
        return table_of(self.values.get(key), self.at(key))

    def items(self, key: str) -> Iterator[tuple[str, object]]:
        """Iterate over the list in the field, each with its path; an absent one is empty."""
        found = self.values.get(key)
        if not isinstance(found, list | tuple | None):
            raise refusal(self.at(key), found, "write a list")
        for index, item in enumerate(found or ()):
            yield f"{self.at(key)}[{index}]", item

    def tables(self, key: str) -> Iterator[Table]:
        """Iterate over the objects of the list in the field."""
        for path, item in self.items(key):
            yield table_of(item, path)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of strings in the field; an absent one is empty."""
        return tuple(_text(item, path) for path, item in self.items(key))

    def text(self, key: str) -> str:
        """Return the string in the field; an absent one is empty."""
        found = self.values.get(key)
        return "" if found is None else _text(found, self.at(key))

    def number(self, key: str, first: int, last: int) -> int:
        """Return the number in the field, which must be there and in `first` to `last`."""
        found = self.values.get(key)
        if not isinstance(found, int) or isinstance(found, bool) or not first <= found <= last:
            raise refusal(self.at(key), found, f"write a number from {first} to {last}")
        return found

    def labels(self, key: str) -> dict[str, str]:
        """Return the labels in the field; absent ones are none."""
        table = self.table(key)
        return {name: _text(value, table.at(name)) for name, value in table.values.items()}

    def refuse_unknown(self, *known: str) -> None:
        """Raise UsageError for a field that is none of `known`: a newer API, or misspelt."""
        for key in self.values:
            if key not in known and self.has(key):
                raise refusal(
                    self.at(key),
                    self.values[key],
                    f"the field is not known here; known are {', '.join(known)}",
                )

    def only_field(self, *known: str) -> str:
        """Return the one of `known` that is set. Raises UsageError unless it is exactly one."""
        self.refuse_unknown(*known)
        fields = [field for field in known if self.has(field)]
        if len(fields) != 1:
            remedy = f"write exactly one of {', '.join(known)}"
            raise refusal(self.path, dict(self.values), remedy)
        return fields[0]


def table_of(raw: object, path: str) -> Table:
    """Return `raw` as an object; None is an empty one."""
    if not isinstance(raw, Mapping | None):
        raise refusal(path, raw, "write an object with fields")
    return Table(path=path, values=cast("Mapping[str, object]", raw or {}))


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise refusal(path, value, "write a string; put it in quotes")
    return value
