"""Can a label have this name, and this value?

Source: Kubernetes docs "Labels and Selectors", k8s.io/apimachinery pkg/util/validation.
"""

from __future__ import annotations

import re

_LONGEST = 63
_LONGEST_PREFIX = 253
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_PART}(\.{_PART})*")

NAME_RULE = (
    'must be a label\'s name: 1 to 63 letters, digits, "-", "_" or ".", with a letter or digit at '
    "either end, after a domain and a slash, if there is one"
)
VALUE_RULE = (
    'must be a label\'s value: up to 63 letters, digits, "-", "_" or ".", with a letter or digit '
    "at either end"
)


def is_label_name(text: str) -> bool:
    """Return whether a label can have this name."""
    prefix, slash, name = text.rpartition("/")
    if slash and not (len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix)):
        return False
    return len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """Return whether a label can have this value; it may be empty."""
    return not text or (len(text) <= _LONGEST and _NAME.fullmatch(text) is not None)
