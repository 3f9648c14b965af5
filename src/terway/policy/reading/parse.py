"""Which value is in an object of the API, or of a manifest? The door to all readers.

Objects are read raw, as JSON or YAML has them: a typed client drops the fields it does not know,
and a policy without a field that it had says something else.
"""

from __future__ import annotations

from terway.policy.domains import NO_ANSWERS, Answers
from terway.policy.policies import Kind, Policy
from terway.policy.reading.parse_admin import parse_cluster_policy
from terway.policy.reading.parse_fields import refusal, table_of
from terway.policy.reading.parse_network import parse_network_policy
from terway.policy.reading.parse_objects import parse_namespace, parse_node, parse_pod

__all__ = ["KINDS", "kind_of", "parse_namespace", "parse_node", "parse_pod", "parse_policy"]

KINDS = {kind.value: kind for kind in Kind}  # the manifests that `parse_policy` reads
_VERSIONS = {
    Kind.NETWORK: "networking.k8s.io/v1",
    Kind.CLUSTER: "policy.networking.k8s.io/v1alpha2",
    Kind.ADMIN: "policy.networking.k8s.io/v1alpha1",
    Kind.BASELINE_ADMIN: "policy.networking.k8s.io/v1alpha1",
}


def parse_policy(raw: object, *, answers: Answers = NO_ANSWERS) -> Policy:
    """Return the policy in a manifest. `answers` are what domain names are known to be.

    A policy that cannot be read comes back with a `fault` or `cautions`, and closed. Raises
    UsageError when it is none, or when not even its name and whom it selects can be read.
    """
    kind = kind_of(raw)
    if kind is Kind.NETWORK:
        return parse_network_policy(raw)
    return parse_cluster_policy(raw, kind, answers=answers)


def kind_of(raw: object) -> Kind:
    """Return which policy a manifest is of. Raises UsageError when it is of none that is known."""
    manifest = table_of(raw, "")
    kind = KINDS.get(manifest.text("kind"))
    if kind is None:
        raise refusal("kind", manifest.text("kind"), f"write one of {', '.join(KINDS)}")
    version, known = manifest.text("apiVersion"), _VERSIONS[kind]
    if version != known:  # another version may say the same in other words, or another thing
        raise refusal("apiVersion", version, f"a {kind.value} is read as {known}; write that")
    return kind
