"""How much is "100m", "1Gi", "5"? Source: k8s.io/apimachinery pkg/api/resource."""

from __future__ import annotations

import re
from decimal import Decimal

_PATTERN = re.compile(r"^([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|[KMGTPE]i?)?$")
_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    **{f"{unit}i": Decimal(1 << (10 * power)) for power, unit in enumerate("KMGTPE", start=1)},
}


def parse_quantity(value: object) -> Decimal:
    """Return a quantity's value. ValueError for text that is none."""
    match = _PATTERN.match(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a quantity such as 100m, 1Gi or 5")
    number, unit = match.groups()
    return Decimal(number) * _FACTORS[unit or ""]


def scaled_value(wanted: int | str, total: int, *, round_up: bool) -> int:
    """Return an int-or-percent field of `total`: 25% of 3 is 1, or 0 rounded down."""
    if isinstance(wanted, int):
        return wanted
    part = Decimal(wanted.rstrip("%")) * total / 100
    whole = int(part)
    return whole + 1 if round_up and part > whole else whole
