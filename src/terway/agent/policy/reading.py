"""Which policy is in an object of the API? One that cannot be read at all is a policy, too.

Whom it selects is not known then: a NetworkPolicy closes its whole namespace, and a cluster policy,
which would close the cluster, nothing. Both are told.
"""

from __future__ import annotations

from typing import Any

from terway.kube.resource import Resource, metadata_of
from terway.model.errors import UsageError
from terway.policy.policies import (
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    PodPeer,
    Policy,
    PolicyKey,
    Tier,
)
from terway.policy.reading.parse import parse_policy
from terway.policy.selector import EVERYTHING


def read_policy(kind: Kind, resource: Resource[dict[str, Any]], raw: dict[str, Any]) -> Policy:
    """Return the policy in `raw`, an object of a collection: it lacks its own kind."""
    try:
        return parse_policy({**raw, "apiVersion": resource.api_version, "kind": kind.value})
    except UsageError as error:
        return _unreadable(kind, raw, str(error))


def _unreadable(kind: Kind, raw: dict[str, Any], fault: str) -> Policy:
    metadata = metadata_of(raw)
    key = PolicyKey(kind=kind, namespace=metadata.namespace, name=metadata.name)
    if kind is Kind.NETWORK:
        return NetworkPolicy(
            key=key, pods=EVERYTHING, ingress=(), egress=(), uid=metadata.uid, fault=fault
        )
    everybody = PodPeer(namespaces=EVERYTHING, pods=EVERYTHING)
    return ClusterPolicy(
        key=key, tier=Tier.ADMIN, priority=0, subject=everybody, uid=metadata.uid, fault=fault
    )
