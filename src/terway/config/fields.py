"""How is a field of a pod's annotation read, and how is it refused? At the first mistake.

Every refusal names the field's path, the value found and what would be right. The keys of
eni-config are read by their declarations (`declare.py`), which find all mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import NoReturn, TypeVar, cast

import msgspec

from terway.config.duration import parse_duration
from terway.config.findings import shown
from terway.model.errors import UsageError

Choice = TypeVar("Choice", bound=Enum)
Item = TypeVar("Item")


def refuse(field: str, value: object, rule: str) -> NoReturn:
    """Raise the UsageError for `field`, which has `value` and breaks `rule`."""
    raise UsageError(f"{field} is {shown(value)}: {rule}", field=field)


def decode_object(text: str | bytes, path: str) -> dict[str, object]:
    """Return the JSON object in `text`."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not JSON: {error}", field=path) from error
    if not isinstance(found, dict):
        refuse(path, found, "must be a JSON object: {…}")
    return cast("dict[str, object]", found)


class Fields:
    """The fields of one JSON object. An absent field and null are the same: the default."""

    def __init__(self, raw: Mapping[str, object], path: str) -> None:
        self._raw = raw
        self._path = path

    def path(self, key: str) -> str:
        """Return the path by which the user finds the field."""
        return f"{self._path}.{key}"

    def has(self, key: str) -> bool:
        """Return whether the field is there."""
        return self._raw.get(key) is not None

    def text_of(self, key: str) -> str:
        """Return the field as JSON, whatever it is."""
        return msgspec.json.encode(self._raw.get(key)).decode()

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Raise UsageError for the first key that is not `known`; suggest what was meant."""
        names = tuple(known)
        for key in self._raw:
            if key not in names:
                near = get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else "remove it"
                raise UsageError(
                    f"{self.path(key)} is not a key of it: {hint}", field=self.path(key)
                )

    def _get(self, key: str, default: Item, read: Callable[[object, str], Item]) -> Item:
        value = self._raw.get(key)
        return default if value is None else read(value, self.path(key))

    def text(self, key: str, default: str = "") -> str:
        """Return a string."""
        return self._get(key, default, _text)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        return self._get(key, default, _flag)

    def count(self, key: str, default: int = 0) -> int:
        """Return a whole number, 0 or more."""
        return self._get(key, default, _count)

    def integer(self, key: str, default: int = 0) -> int:
        """Return a whole number."""
        return self._get(key, default, _integer)

    def ratio(self, key: str, default: float) -> float:
        """Return a number above 0."""
        return self._get(key, default, _ratio)

    def duration_s(self, key: str, default: float | None) -> float | None:
        """Return the seconds of a duration as Go writes it: ``120s``, ``1h30m``."""
        return self._get(key, default, _duration_s)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        return self._get(key, (), _texts)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return an object of strings, as pairs."""
        return self._get(key, (), _pairs)

    def lists(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return an object of lists of strings."""
        return self._get(key, {}, _lists)

    def objects(self, key: str) -> tuple[Fields, ...]:
        """Return a list of objects."""
        return self._get(key, (), _objects)

    def object(self, key: str) -> Fields | None:
        """Return an object, or None."""
        return self._get(key, None, lambda value, path: Fields(_object(value, path), path))

    def choice(self, key: str, default: Choice) -> Choice:
        """Return one of the values of an Enum, told apart without regard to case."""
        kind = type(default)
        names = {str(one.value).lower(): one for one in kind}

        def read(value: object, path: str) -> Choice:
            found = names.get(value.lower()) if isinstance(value, str) else None
            return found or refuse(path, value, f"must be one of {', '.join(names)}")

        return self._get(key, default, read)


def _text(value: object, path: str) -> str:
    return value if isinstance(value, str) else refuse(path, value, 'must be a string: "…"')


def _flag(value: object, path: str) -> bool:
    return value if isinstance(value, bool) else refuse(path, value, "must be true or false")


def _integer(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    refuse(path, value, "must be a whole number")


def _count(value: object, path: str) -> int:
    number = _integer(value, path)
    return number if number >= 0 else refuse(path, value, "must be 0 or more")


def _ratio(value: object, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    refuse(path, value, "must be a number above 0")


def _duration_s(value: object, path: str) -> float:
    found = parse_duration(_text(value, path))
    rule = 'must be a duration above 0, as "120s", "10m" or "1h30m"'
    return found if found else refuse(path, value, rule)


def _texts(value: object, path: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        refuse(path, value, 'must be a list of strings: ["…"]')
    return tuple(_text(one, f"{path}[{index}]") for index, one in enumerate(value))


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        refuse(path, value, "must be an object: {…}")
    return cast("dict[str, object]", value)


def _pairs(value: object, path: str) -> tuple[tuple[str, str], ...]:
    found = _object(value, path).items()
    return tuple((key, _text(one, f"{path}.{key}")) for key, one in found)


def _lists(value: object, path: str) -> dict[str, tuple[str, ...]]:
    found = _object(value, path).items()
    return {key: _texts(one, f"{path}.{key}") for key, one in found}


def _objects(value: object, path: str) -> tuple[Fields, ...]:
    if not isinstance(value, list):
        refuse(path, value, "must be a list of objects: [{…}]")
    return tuple(
        Fields(_object(one, f"{path}[{index}]"), f"{path}[{index}]")
        for index, one in enumerate(value)
    )
