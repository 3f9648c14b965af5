"""Which policy is in an object of which not even whom it selects can be read?

A NetworkPolicy closes its whole namespace then, and a cluster policy, which would close the
cluster, nothing. Nodes and tools read alike, so that a tool tells what a node does.
"""

from __future__ import annotations

from terway.model.errors import UsageError
from terway.model.selector import EVERYTHING
from terway.policy.domains import NO_ANSWERS, Answers
from terway.policy.policies import (
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    PodPeer,
    Policy,
    PolicyKey,
    Tier,
)
from terway.policy.reading.parse import kind_of, parse_policy
from terway.policy.reading.parse_fields import table_of
from terway.policy.reading.parse_network import generation_of, uid_of
from terway.policy.reading.parse_objects import name_of


def parse_or_close(raw: object, *, answers: Answers = NO_ANSWERS) -> Policy:
    """Return the policy in a manifest; whatever cannot be read of it is its `fault`.

    Raises UsageError when it is none, or has no name.
    """
    kind = kind_of(raw)
    try:
        return parse_policy(raw, answers=answers)
    except UsageError as error:
        return _unreadable(kind, raw, str(error))


def _unreadable(kind: Kind, raw: object, fault: str) -> Policy:
    metadata = table_of(raw, "").table("metadata")
    name, generation, uid = name_of(metadata), generation_of(metadata), uid_of(metadata)
    if kind is Kind.NETWORK:
        namespace = metadata.text("namespace") or "default"
        return NetworkPolicy(
            key=PolicyKey(kind=kind, namespace=namespace, name=name),
            pods=EVERYTHING,
            ingress=(),
            egress=(),
            generation=generation,
            uid=uid,
            fault=fault,
        )
    return ClusterPolicy(
        key=PolicyKey(kind=kind, name=name),
        tier=Tier.ADMIN,
        priority=0,
        subject=PodPeer(namespaces=EVERYTHING, pods=EVERYTHING),
        generation=generation,
        uid=uid,
        fault=fault,
    )
