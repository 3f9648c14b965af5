"""What is told of policies that are not as their authors think."""

from __future__ import annotations

from terway.agent.policy.reading import read_policy
from terway.agent.policy.report import FAULT, policies_here, troubles_of
from terway.kube.resource import CLUSTER_NETWORK_POLICIES, NETWORK_POLICIES
from terway.policy.policies import Kind

ODD = {"matchExpressions": [{"key": "app", "operator": "Near", "values": ["x"]}]}


def test_of_what_nobody_can_read_it_is_told_whether_it_closes_or_is_void():
    """A namespace is closed by it, the cluster is not; and what is void is nobody's rival."""
    closed = read_policy(
        Kind.NETWORK,
        NETWORK_POLICIES,
        {"metadata": {"name": "closing", "namespace": "x"}, "spec": {"podSelector": ODD}},
    )
    subject: dict[str, object] = {"namespaces": {}}
    void: dict[str, object] = {"namespaces": ODD}
    spec = {"tier": "Admin", "priority": 0}
    first, second = (
        read_policy(
            Kind.CLUSTER,
            CLUSTER_NETWORK_POLICIES,
            {"metadata": {"name": name}, "spec": {**spec, "subject": who}},
        )
        for name, who in (("first", subject), ("void", void))
    )

    troubles = list(troubles_of(policies_here([[closed, first, second]])))

    assert [one.reason for one in troubles] == [FAULT, FAULT]
    told = {one.policy.key.name: one.text.partition(":")[0] for one in troubles}
    assert told == {
        "closing": "denies what it selects, because it cannot be read",
        "void": "is not in force, because it cannot be read",
    }
