"""Which policies select a pod?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from terway.model.selector import Labels, Selector
from terway.policy.cluster import Namespace, Pod
from terway.policy.policies import ClusterPolicy, NetworkPolicy, Policy, PolicyKey


class PolicyIndex:
    """Policies by the namespace whose pods they may select; those of the cluster under ""."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[PolicyKey, Policy]] = {}

    def put(self, key: PolicyKey, policy: Policy | None) -> None:
        """Take note of a policy; None is one that is gone."""
        of_namespace = self._by_namespace.setdefault(key.namespace, {})
        if policy is None:
            of_namespace.pop(key, None)
        else:
            of_namespace[key] = policy

    def selecting(self, pod: Pod, namespaces: Mapping[str, Namespace]) -> Iterator[Policy]:
        """Yield the policies that select `pod`, of whatever direction."""
        if pod.is_host_network:
            return
        found = namespaces.get(pod.key.namespace)
        labels = found.labels if found is not None else {}
        for scope in dict.fromkeys((pod.key.namespace, "")):
            for policy in self._by_namespace.get(scope, {}).values():
                if _selects(policy, pod, labels):
                    yield policy


def _selects(policy: Policy, pod: Pod, namespace_labels: Labels) -> bool:
    match policy:
        case NetworkPolicy(pods=pods):
            return pods.matches(pod.labels)
        case ClusterPolicy(subject=subject):
            named = subject.namespaces
            is_there = (
                named.matches(namespace_labels)
                if isinstance(named, Selector)
                else named == pod.key.namespace
            )
            return is_there and subject.pods.matches(pod.labels)
