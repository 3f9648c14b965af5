"""Which values can a key have? A kind reads one, and says the same as JSON schema and in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from typing import Generic, Protocol, TypeVar

from terway.config.duration import parse_duration
from terway.config.findings import Report
from terway.model.address import IPNetwork

Schema = dict[str, object]
Choice = TypeVar("Choice", bound=Enum)
Read_co = TypeVar("Read_co", covariant=True)


class Kind(Protocol[Read_co]):
    """The values of a key."""

    @property
    def words(self) -> str:
        """Return what is right, to go on from "must be"."""

    def read(self, value: object, path: str, report: Report) -> Read_co | None:
        """Return what `value` means; None, and a refusal in `report`, if it is none of these."""

    def schema(self) -> Schema:
        """Return the same as JSON schema, draft 2020-12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string; one that matches `pattern` as a whole, where there is one."""

    pattern: str = ""
    words: str = 'a string: "…"'

    def read(self, value: object, path: str, report: Report) -> str | None:
        """Return what `value` means, or None."""
        if isinstance(value, str) and (not self.pattern or re.fullmatch(self.pattern, value)):
            return value
        report.refuse(path, value, f"must be {self.words}")
        return None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "string", **({"pattern": f"^({self.pattern})$"} if self.pattern else {})}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    words: str = "true or false"

    def read(self, value: object, path: str, report: Report) -> bool | None:
        """Return what `value` means, or None."""
        if isinstance(value, bool):
            return value
        report.refuse(path, value, f"must be {self.words}")
        return None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number. `also` are values outside of the bounds that mean something of their own."""

    minimum: int | None = 0
    maximum: int | None = None
    also: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """Return what is right."""
        if self.maximum is not None:
            bounds = f"between {self.minimum} and {self.maximum}"
            return f"a whole number, {bounds}{''.join(f', or {one}' for one in self.also)}"
        return (
            "a whole number" if self.minimum is None else f"a whole number, {self.minimum} or more"
        )

    def read(self, value: object, path: str, report: Report) -> int | None:
        """Return what `value` means, or None."""
        if isinstance(value, int) and not isinstance(value, bool) and self._has(value):
            return value
        report.refuse(path, value, f"must be {self.words}")
        return None

    def _has(self, value: int) -> bool:
        above = self.minimum is None or value >= self.minimum
        return (above and (self.maximum is None or value <= self.maximum)) or value in self.also

    def schema(self) -> Schema:
        """Return the JSON schema."""
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        said: Schema = {"type": "integer", **{k: v for k, v in bounds.items() if v is not None}}
        return {"anyOf": [said, {"enum": list(self.also)}]} if self.also else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number above 0, or from 0 on; `as_text` also takes it in quotes."""

    allows_zero: bool = False
    maximum: float | None = None
    as_text: bool = False

    @property
    def words(self) -> str:
        """Return what is right."""
        least = "0 or more" if self.allows_zero else "above 0"
        most = "" if self.maximum is None else f", {self.maximum:g} at most"
        return f"a number {least}{most}"

    def read(self, value: object, path: str, report: Report) -> float | None:
        """Return what `value` means, or None."""
        found = self._number(value)
        if found is not None and self._has(found):
            return found
        report.refuse(path, value, f"must be {self.words}")
        return None

    def _number(self, value: object) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        is_text = self.as_text and isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value)
        return float(str(value)) if is_text else None

    def _has(self, found: float) -> bool:
        above = found >= 0 if self.allows_zero else found > 0  # never true of NaN
        return above and found <= (sys.float_info.max if self.maximum is None else self.maximum)

    def schema(self) -> Schema:
        """Return the JSON schema."""
        least = "minimum" if self.allows_zero else "exclusiveMinimum"
        most = {} if self.maximum is None else {"maximum": self.maximum}
        said: Schema = {"type": "number", least: 0, **most}
        return (
            {"anyOf": [said, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}
            if self.as_text
            else said
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A time as Go writes it, read as seconds; `takes_ns` also takes Go's own nanoseconds."""

    takes_ns: bool = False
    words: str = 'a duration above 0, as "120s", "10m" or "1h30m"'

    def read(self, value: object, path: str, report: Report) -> float | None:
        """Return what `value` means, or None."""
        found = parse_duration(value) if isinstance(value, str) else self._of_ns(value)
        if found:
            return found
        report.refuse(path, value, f"must be {self.words}")
        return None

    def _of_ns(self, value: object) -> float | None:
        is_ns = self.takes_ns and isinstance(value, int) and not isinstance(value, bool)
        return max(0.0, float(str(value)) / 1e9) if is_ns else None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        pattern = r"^((\d+(\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns))+$"
        said: Schema = {"type": "string", "pattern": pattern}
        whole: Schema = {"type": "integer", "exclusiveMinimum": 0}
        return {"anyOf": [said, whole]} if self.takes_ns else said


@dataclass(frozen=True, slots=True)
class OneOf(Generic[Choice]):
    """One of the values of an Enum, told apart without regard to case."""

    choices: type[Choice]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(str(one.value) for one in self.choices)

    @property
    def words(self) -> str:
        """Return what is right."""
        return "one of " + ", ".join(name or "nothing" for name in self._names)

    def read(self, value: object, path: str, report: Report) -> Choice | None:
        """Return what `value` means, or None."""
        asked = value.lower() if isinstance(value, str) else None
        found = [one for one in self.choices if str(one.value).lower() == asked]
        if not found:
            report.refuse(path, value, f"must be {self.words}")
        return found[0] if found else None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "string", "enum": list(self._names)}


@dataclass(frozen=True, slots=True)
class Network:
    """A range of addresses, of either family."""

    words: str = 'a range: "10.0.0.0/8" or "fd00::/64"'

    def read(self, value: object, path: str, report: Report) -> IPNetwork | None:
        """Return what `value` means, or None."""
        if not isinstance(value, str):
            report.refuse(path, value, f"must be {self.words}")
            return None
        try:
            return ip_network(value)
        except ValueError as error:
            report.refuse(path, value, f"must be {self.words}: {error}")
            return None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "string", "pattern": r"^[0-9a-fA-F.:]+(/\d+)?$"}


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value: nobody looks at it."""

    words: str = "anything"

    def read(self, value: object, path: str, report: Report) -> object:
        """Return what `value` means, or None."""
        return value

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {}


Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Generic[Item_co]):
    """A list; `most` limits its length."""

    of: Kind[Item_co]
    most: int | None = None

    @property
    def words(self) -> str:
        """Return what is right."""
        return f"a list: [{self.of.words}, …]"

    def read(self, value: object, path: str, report: Report) -> tuple[Item_co, ...] | None:
        """Return what `value` means, or None."""
        if not isinstance(value, list):
            report.refuse(path, value, f"must be {self.words}")
            return None
        if self.most is not None and len(value) > self.most:
            report.refuse(path, value, f"has {len(value)}, at most {self.most} go: remove some")
        read = (self.of.read(one, f"{path}[{index}]", report) for index, one in enumerate(value))
        return tuple(one for one in read if one is not None)

    def schema(self) -> Schema:
        """Return the JSON schema."""
        most = {} if self.most is None else {"maxItems": self.most}
        return {"type": "array", "items": self.of.schema(), **most}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOf(Generic[Item_co]):
    """An object whose keys the user names."""

    of: Kind[Item_co]
    keys: str = "name"

    @property
    def words(self) -> str:
        """Return what is right."""
        return f"an object: {{{self.keys}: {self.of.words}, …}}"

    def read(self, value: object, path: str, report: Report) -> Mapping[str, Item_co] | None:
        """Return what `value` means, or None."""
        if not isinstance(value, dict):
            report.refuse(path, value, f"must be {self.words}")
            return None
        read = {key: self.of.read(one, f"{path}.{key}", report) for key, one in value.items()}
        return {key: one for key, one in read.items() if one is not None}

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "object", "additionalProperties": self.of.schema()}
