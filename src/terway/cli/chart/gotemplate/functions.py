"""Which functions may a template call? Go's own, and of Helm's those that charts like ours use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from terway.cli.chart.gotemplate.tokens import TemplateError

Function = Callable[..., Any]


def is_true(value: object) -> bool:
    """Return what `if` thinks of a value: zero, nil and what is empty are false."""
    return bool(value)


def text_of(value: object) -> str:
    """Return a value as Go prints it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Mapping():
            inner = " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value))
            return f"map[{inner}]"
        case list() | tuple():
            return f"[{' '.join(map(text_of, value))}]"
        case _:
            return str(value)


def to_yaml(value: object) -> str:
    """Return YAML, without a line break at its end."""
    dumped: str = yaml.safe_dump(value, default_flow_style=False, width=1000, sort_keys=True)
    return dumped.removesuffix("...\n").rstrip("\n")


def to_json(value: object) -> str:
    """Return JSON as Go writes it: without spaces, and safe within HTML."""
    return _for_html(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False))


def _for_html(text: str) -> str:
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _to_pretty_json(value: object) -> str:
    return _for_html(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def quote(*values: object) -> str:
    """Return values as quoted text; nil is left out."""
    return " ".join(
        json.dumps(text_of(one), ensure_ascii=False) for one in values if one is not None
    )


def indent(columns: int, text: object) -> str:
    """Return text, each line `columns` to the right."""
    pad = " " * columns
    return "\n".join(pad + line for line in text_of(text).split("\n"))


def printf(form: str, *values: object) -> str:
    """Return Go's Sprintf for the verbs %s, %d, %v, %q and %%."""
    left = list(values)
    found = form.replace("%%", "\0")
    out = ""
    while "%" in found:
        before, _, rest = found.partition("%")
        if not rest or rest[0] not in "sdvq" or not left:
            raise TemplateError(f"printf {form!r}: only %s, %d, %v, %q, one value for each")
        value = left.pop(0)
        out += before + (quote(value) if rest[0] == "q" else text_of(value))
        found = rest[1:]
    return (out + found).replace("\0", "%")


def _required(message: str, value: object) -> object:
    if value is None or value == "":
        raise TemplateError(message)
    return value


def _fail(message: str) -> object:
    raise TemplateError(message)


def _dict(*pairs: Any) -> dict[str, Any]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _all_true(*values: object) -> object:
    return next((one for one in values if not is_true(one)), values[-1])


def _any_true(*values: object) -> object:
    return next((one for one in values if is_true(one)), values[-1])


def _set(mapping: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    mapping[key] = value
    return mapping


FUNCTIONS: Mapping[str, Function] = {
    "and": _all_true,
    "or": _any_true,
    "not": lambda value: not is_true(value),
    "eq": lambda value, *others: any(value == one for one in others),
    "ne": lambda value, other: value != other,
    "gt": lambda value, other: value > other,
    "printf": printf,
    "default": lambda other, value=None: value if is_true(value) else other,
    "ternary": lambda yes, no, value: yes if value else no,
    "required": _required,
    "fail": _fail,
    "quote": quote,
    "toYaml": to_yaml,
    "toJson": to_json,
    "fromJson": json.loads,
    "toPrettyJson": _to_pretty_json,
    "int": int,
    "nindent": lambda columns, text: "\n" + indent(columns, text),
    "trim": lambda text: text.strip(),
    "lower": lambda text: text.lower(),
    "dict": _dict,
    "list": lambda *values: list(values),
    "concat": lambda *lists: [one for values in lists for one in values],
    "has": lambda value, values: value in values,
    "set": _set,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
}
