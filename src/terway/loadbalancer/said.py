"""Which words do the annotations of a Service have, and which of them are no words of ours?

What is refused is collected: whoever corrects a Service is told all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches

from terway.model.balancer import Tags
from terway.model.errors import UsageError
from terway.model.ids import VSwitchId, ZoneId

PREFIXES = (
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-",
    "service.beta.kubernetes.io/alicloud-loadbalancer-",
)
_FLAGS = {"on": True, "true": True, "off": False, "false": False}
_DIGITS = 9
_NEAR = 0.75  # how alike two names are, of 1, for one to be meant by the other


class Said:
    """The annotations, by the last part of their name.

    Each that is asked for is known from then on; `end` refuses the others, with all that was wrong.
    """

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations
        self._said = {
            key.removeprefix(prefix): (key, value)
            for prefix in reversed(PREFIXES)
            for key, value in annotations.items()
            if key.startswith(prefix)
        }
        self._known: set[str] = set()
        self._banned: set[str] = set()
        self._refused: dict[str, str] = {}  # the rule, by the whole name

    def refuse(self, names: Collection[str], rule: str) -> None:
        """Refuse all of `names` that are said."""
        self._banned.update(names)
        self.fault(names, rule)

    def fault(self, names: Collection[str], rule: str) -> None:
        """Refuse those of `names` that are said, for what is said beside them."""
        for name in names:
            if name in self._said:
                self._refuse(name, rule)

    def refuse_key(self, key: str, rule: str) -> None:
        """Refuse the annotation of that whole name; the first rule that it breaks is told."""
        self._refused.setdefault(key, rule)

    def end(self) -> None:
        """Raise UsageError with all that is refused; `field` is the first of it."""
        meant = sorted(self._known - self._banned)
        for name in self._said.keys() - self._known:
            self._refuse(name, _unknown(name, meant))
        if not self._refused:
            return
        told = [
            f"annotation {key}: {self._annotations[key]!r} {self._refused[key]}"
            for key in self._annotations
            if key in self._refused
        ]
        field = next(key for key in self._annotations if key in self._refused)
        raise UsageError("; ".join(told), field=field)

    def written(self, name: str) -> tuple[str, str] | None:
        """Return the whole name and the value, as somebody wrote them."""
        return self._said.get(name)

    def words(self, name: str) -> tuple[str, ...]:
        """Read ``a,b``, each once."""
        parts = (part.strip() for part in self.text(name).split(","))
        return tuple(dict.fromkeys(filter(None, parts)))

    def text(self, name: str) -> str:
        """Read a word; empty for none."""
        self._known.add(name)
        return self._said[name][1].strip() if name in self._said else ""

    def flag(self, name: str, *, default: bool) -> bool:
        """Read a word that means yes or no."""
        return _FLAGS[word] if (word := self.choice(name, tuple(_FLAGS), "")) else default

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Read one of some words, in whatever case."""
        word = self.text(name)
        if word and word.lower() not in {one.lower() for one in choices}:
            self._refuse(name, f"is none of {', '.join(choices)}")
        return next((one for one in choices if one.lower() == word.lower()), default)

    def number(self, name: str, least: int, most: int) -> int | None:
        """Read a whole number from `least` to `most`; None for none."""
        word = self.text(name)
        if not word:
            return None
        # The length first: of thousands of digits Python makes no number.
        is_number = word.isdecimal() and len(word) <= _DIGITS
        if not is_number or not least <= int(word) <= most:
            self._refuse(name, f"is no number from {least} to {most}")
            return None
        return int(word)

    def zones(self, name: str) -> tuple[tuple[ZoneId, VSwitchId], ...]:
        """Read ``zone:vswitch,zone:vswitch``."""
        pairs = self._pairs(name, ":", lambda zone, vswitch: bool(zone and vswitch))
        return tuple((ZoneId(zone), VSwitchId(vswitch)) for zone, vswitch in pairs)

    def tags(self, name: str) -> Tags:
        """Read ``key=value,key=value``; a value may be left out."""
        return self._pairs(name, "=", lambda key, value: bool(key))

    def _pairs(self, name: str, sign: str, is_right: Callable[[str, str], bool]) -> Tags:
        found = []
        for one in self.words(name):
            key, _, value = one.partition(sign)
            if not is_right(key, value):
                what = "is" if one == self.text(name) else f"has {one!r}, which is"
                self._refuse(name, f"{what} no pair with {sign!r} between")
            found.append((key, value))
        return tuple(found)

    def _refuse(self, name: str, rule: str) -> None:
        self._known.add(name)
        self.refuse_key(self._said[name][0], rule)


def _unknown(name: str, meant: Collection[str]) -> str:
    near = get_close_matches(name, meant, n=1, cutoff=_NEAR)
    remedy = f"did you mean {PREFIXES[0]}{near[0]}? Correct it, or take it out" if near else ""
    return f"is not known here: {remedy or 'take it out'}"
