"""What number is a Kubernetes quantity such as 500m, 10M or 1.5Gi?

Source: k8s.io/apimachinery pkg/api/resource.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from terway.model.errors import UsageError

_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_SHAPE = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?i?)")


def parse_quantity(text: str | float) -> Decimal:
    """Return the number. Raises UsageError with the text."""
    match = _SHAPE.fullmatch(str(text).strip())
    if match is None or match[2] not in _SUFFIX:
        raise UsageError(f"{text!r} is not a quantity; write it as 500m, 10M or 1Gi")
    try:
        return Decimal(match[1]) * _SUFFIX[match[2]]
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is not a quantity") from error
