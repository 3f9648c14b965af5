"""What was found wrong, or without effect, in a configuration: all of it, not only the first.

Every finding names the field's path. A refusal also names the value, and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from terway.model.errors import UsageError

_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something that is accepted, and does not do what its reader may think."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that cannot be right. `found` is the value as JSON; empty where it is none."""

    field: str
    found: str
    rule: str

    def __str__(self) -> str:
        return f"{self.field} {f'is {self.found}' if self.found else 'is not right'}: {self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownKey(Refusal):
    """A key that nobody reads. `remedy` is what to do about it, said apart for programs."""

    remedy: str

    def __str__(self) -> str:
        return f"{self.field} is not a key of it: {self.remedy}"


class ConfigError(UsageError):
    """A configuration that cannot be followed, with everything that was found in it."""

    def __init__(self, refusals: tuple[Refusal, ...], cautions: tuple[Caution, ...] = ()) -> None:
        super().__init__("; ".join(map(str, refusals)), field=refusals[0].field)
        self.refusals = refusals
        self.cautions = cautions


@dataclass(slots=True)
class Report:
    """Collects findings while a configuration is read. Belongs to that one reading."""

    refusals: list[Refusal] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)

    def refuse(self, path: str, value: object, rule: str) -> None:
        """Say that the field at `path`, which has `value`, breaks `rule`."""
        self.refusals.append(Refusal(field=path, found=shown(value), rule=rule))

    def refuse_key(self, path: str, value: object, *, nearest: str = "") -> None:
        """Say that there is no such key as `path` ends with; `nearest` may have been meant."""
        rule = f"no such key; the nearest is {nearest}" if nearest else "no such key"
        remedy = f"did you mean {nearest}?" if nearest else "remove it"
        self.refusals.append(UnknownKey(field=path, found=shown(value), rule=rule, remedy=remedy))

    def caution(self, path: str, text: str) -> None:
        """Say that the field at `path` does not do what its reader may think."""
        self.cautions.append(Caution(field=path, text=text))

    def has_refused(self, paths: Iterable[str]) -> bool:
        """Return whether one of `paths` was refused: rules over several would repeat it."""
        refused = {one.field for one in self.refusals}
        return not refused.isdisjoint(paths)

    def raise_refusals(self) -> None:
        """Raise ConfigError if anything was refused."""
        if self.refusals:
            raise ConfigError(tuple(self.refusals), tuple(self.cautions))


def shown(value: object) -> str:
    """Return `value` as JSON, cut where it gets long; in Python's words what JSON has none for."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # of YAML, half a surrogate, beyond 64 bits
        text = ascii(value)
    except RecursionError:
        text = "nested too deeply"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "…"
