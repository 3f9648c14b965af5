"""Are the amounts that a container asks for ones that can be counted?

Extended resources, such as ``aliyun/member-eni``, are whole things: they come in whole numbers,
and as many are kept as are used. Source: k8s.io/kubernetes pkg/apis/core/validation
(ValidateContainerResources), pkg/apis/core/v1/helper (IsExtendedResourceName), v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi.causes import invalid_value, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.quantities import parse_quantity


def is_extended(name: str) -> bool:
    """Say whether Kubernetes knows of the resource only that nodes have some of it."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and not domain.endswith("kubernetes.io")


def validate_amounts(resources: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Yield what is wrong with a container's requests and limits."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            value = parse_quantity(amount)
            if value < 0:
                why = "must be greater than or equal to 0"
                yield invalid_value(f"{path}.{field}[{name}]", str(amount), why)
            elif is_extended(name) and value != int(value):
                yield invalid_value(f"{path}.{field}[{name}]", str(amount), "must be an integer")
    for name, amount in requests.items():
        if name not in limits:
            if is_extended(name):
                why = "Limit must be set for non overcommitable resources"
                yield required(f"{path}.limits", why)
            continue
        if is_extended(name) and parse_quantity(amount) != parse_quantity(limits[name]):
            why = f"must be equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", str(amount), why)
        elif parse_quantity(amount) > parse_quantity(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", str(amount), why)
