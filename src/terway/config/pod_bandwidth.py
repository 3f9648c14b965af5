"""What limits and which priority does a pod ask for by its annotations?

k8s.aliyun.com/ingress-bandwidth: 10M        bytes/s, the letter is a power of 1024 (1 is B)
kubernetes.io/ingress-bandwidth: 80M         bits/s, a Kubernetes quantity; wins over the other
k8s.aliyun.com/network-priority: guaranteed

Source: AliyunContainerService/terway, types/k8s.go and docs/qos.md; Kubernetes, "Network plugins",
support traffic shaping; its k8s.io/kubernetes/pkg/util/bandwidth/utils.go for the bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

from terway.model.errors import UsageError
from terway.model.interface import UNLIMITED, Bandwidth, NetworkPriority

PARSE_FAILED = "ParseFailed"  # the reason of upstream's event
PRIORITY = "k8s.aliyun.com/network-priority"
LEAST_BYTES_S, MOST_BYTES_S = 125, 125 * 10**12  # 1 kbit/s to 1 Pbit/s

_OWN = re.compile(r"(\d+(?:\.\d+)?)([BKMGT])(?:i?B)?")
_OWN_UNITS = {letter: 1024**power for power, letter in enumerate("BKMGT")}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:[eE](\d+)|([numkMGTPE]?|[KMGTPE]i))?")
_QUANTITY_UNITS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}


def parse_bandwidth(annotations: Mapping[str, str], fallback: Bandwidth = UNLIMITED) -> Bandwidth:
    """Return the limits of a pod; in a direction of which it says nothing, those of `fallback`.

    Raises UsageError (code ParseFailed) with annotation, value and what would be right.
    """
    return Bandwidth(
        ingress=_parse("ingress", annotations, fallback.ingress),
        egress=_parse("egress", annotations, fallback.egress),
    )


def parse_priority(annotations: Mapping[str, str]) -> NetworkPriority | None:
    """Return the priority that a pod asks for, None when it does not. Raises UsageError."""
    asked = annotations.get(PRIORITY)
    if asked is None:
        return None
    try:
        return NetworkPriority(asked)
    except ValueError:
        _refuse(
            PRIORITY, asked, f"must be one of {', '.join(one.value for one in NetworkPriority)}"
        )


def override(limits: Bandwidth, by: Bandwidth) -> Bandwidth:
    """Return `limits`, with those of `by` in each direction in which it has one."""
    return Bandwidth(
        ingress=limits.ingress if by.ingress is None else by.ingress,
        egress=limits.egress if by.egress is None else by.egress,
    )


def _parse(direction: str, annotations: Mapping[str, str], fallback: int | None) -> int | None:
    standard, own = (
        f"{prefix}/{direction}-bandwidth" for prefix in ("kubernetes.io", "k8s.aliyun.com")
    )
    if standard in annotations:
        return _of_quantity(standard, annotations[standard])
    if own in annotations:
        return _of_bytes(own, annotations[own])
    return fallback


def _of_bytes(path: str, text: str) -> int:
    found = _OWN.fullmatch(text.strip())
    if found is None:
        rule = "must be a number and one of B, K, M, G, T (bytes per second, times 1024), as 10M"
        _refuse(path, text, rule)
    return _bounded(path, text, Decimal(found[1]) * _OWN_UNITS[found[2]])


def _of_quantity(path: str, text: str) -> int:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        _refuse(path, text, "must be a quantity in bits per second, as 10M")
    number = Decimal(found[1])
    scale = Decimal(10) ** int(found[2]) if found[2] else _QUANTITY_UNITS[found[3] or ""]
    return _bounded(path, text, number * scale / 8)


def _bounded(path: str, text: str, bytes_s: Decimal) -> int:
    if not LEAST_BYTES_S <= bytes_s <= MOST_BYTES_S:
        _refuse(path, text, "must be between 1 kbit/s and 1 Pbit/s; without a limit, remove it")
    return int(bytes_s)


def _refuse(path: str, value: str, rule: str) -> NoReturn:
    field = f"metadata.annotations[{path}]"
    raise UsageError(f"{field} is {value!r}: {rule}", field=field, code=PARSE_FAILED)
