"""How is a key declared? Once: what it can be, what it means, and when a change of it takes hold.

From the declarations come the parser (`read_object`), the JSON schema (`schema.py`) and the
reference page (`reference.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import Generic, TypeVar, cast

from terway.config.findings import Report
from terway.config.kinds import Kind, Schema

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)


class Effect(Enum):
    """What a key does here."""

    YES = "yes"
    COMMENT = "a comment"  # nobody reads it, and nobody expects otherwise
    NONE = "none"  # understood, and without effect: whoever sets it is told
    LEGACY = "legacy"  # of earlier versions: whoever sets it is told what took its place


class Reload(Enum):
    """When a change of the key takes hold."""

    AT_ONCE = "at once"
    NEW_ENIS = "for new ENIs"
    NEW_PODS = "for new pods"
    RESTART = "when terwayd starts"
    NEVER = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Generic[Value_co]):
    """One key. `why` says why it has no effect, or what took its place."""

    name: str
    kind: Kind[Value_co]
    default: Value_co
    meaning: str
    reload: Reload = Reload.NEVER
    effect: Effect = Effect.YES
    why: str = ""
    unit: str = ""
    default_words: str = ""  # where the value itself says too little
    is_ours: bool = False  # the original does not have it


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one object, by their declarations. What is absent has its default."""

    _found: Mapping[str, object]
    _path: str = field(compare=False)

    def __getitem__(self, key: Key[Value]) -> Value:
        """Return the value of `key`."""
        # `read_object` put it there by the kind of the same key.
        return cast("Value", self._found.get(key.name, key.default))

    def has(self, key: Key[object]) -> bool:
        """Return whether the user wrote the key, and it could be read."""
        return key.name in self._found

    def path(self, key: Key[object]) -> str:
        """Return the path by which the user finds the key."""
        return f"{self._path}.{key.name}"


def read_object(
    keys: Iterable[Key[object]], raw: Mapping[str, object], path: str, report: Report
) -> Values:
    """Return the values of `raw`; put what is wrong or without effect into `report`.

    An absent key and null are the same: the default. So the user can tell a key of the common
    configuration back to its default in the node's own.
    """
    known = {key.name: key for key in keys}
    found = {}
    for name, value in raw.items():
        if name not in known:
            # Whoever misspells a secret's name has the secret in it all the same.
            told = "…" if "secret" in name.lower() else value
            report.refuse_key(f"{path}.{name}", told, nearest=_nearest(name, known))
        elif value is not None:
            key = known[name]
            read = key.kind.read(value, f"{path}.{name}", report)
            if read is not None:
                found[name] = read
                _caution(key, value, read, path, report)
    return Values(found, path)


def _nearest(name: str, known: Iterable[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1)), "")


def _caution(key: Key[object], value: object, read: object, path: str, report: Report) -> None:
    if (
        key.effect in (Effect.YES, Effect.COMMENT)
        or read == key.default
        or value in ("", 0, [], {})
    ):
        return
    text = f"has no effect: {key.why}" if key.effect is Effect.NONE else key.why
    report.caution(f"{path}.{key.name}", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An object whose keys are declared."""

    keys: tuple[Key[object], ...]

    @property
    def words(self) -> str:
        """Return what is right."""
        return f"an object: {{{', '.join(key.name for key in self.keys)}}}"

    def read(self, value: object, path: str, report: Report) -> Values | None:
        """Return the values of the object."""
        if not isinstance(value, dict):
            report.refuse(path, value, f"must be {self.words}")
            return None
        return read_object(self.keys, cast("dict[str, object]", value), path, report)

    def schema(self) -> Schema:
        """Return the schema of the object."""
        return object_schema(self.keys)


def object_schema(keys: Iterable[Key[object]]) -> Schema:
    """Return the JSON schema of an object with `keys` and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: _key_schema(key) for key in keys},
    }


def _key_schema(key: Key[object]) -> Schema:
    said = key.kind.schema()
    # null is the default, as for every key of the original.
    either: Schema = {"anyOf": [said, {"type": "null"}]} if said else {}
    marks: Schema = {} if key.effect in (Effect.YES, Effect.COMMENT) else {"deprecated": True}
    return {"description": key.meaning, **either, **marks}
