"""Which policy is in an object of a collection? It lacks its own kind there."""

from __future__ import annotations

from typing import Any

from terway.kube.resource import Resource
from terway.policy.policies import Kind, Policy
from terway.policy.reading.closing import parse_or_close


def read_policy(kind: Kind, resource: Resource[dict[str, Any]], raw: dict[str, Any]) -> Policy:
    """Return the policy in `raw`; one that cannot be read has a fault."""
    return parse_or_close({**raw, "apiVersion": resource.api_version, "kind": kind.value})
