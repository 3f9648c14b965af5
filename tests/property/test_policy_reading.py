"""Whatever stands in a policy, a node reads a policy of it: no object stops a terwayd."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from terway.agent.policy.reading import read_policy
from terway.kube.resource import (
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    NETWORK_POLICIES,
)
from terway.policy.policies import Kind

RESOURCES = {
    Kind.NETWORK: NETWORK_POLICIES,
    Kind.CLUSTER: CLUSTER_NETWORK_POLICIES,
    Kind.ADMIN: ADMIN_NETWORK_POLICIES,
    Kind.BASELINE_ADMIN: BASELINE_ADMIN_NETWORK_POLICIES,
}
FIELDS = [
    "podSelector",
    "namespaceSelector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "policyTypes",
    "ingress",
    "egress",
    "from",
    "to",
    "ports",
    "port",
    "endPort",
    "protocol",
    "ipBlock",
    "cidr",
    "except",
    "tier",
    "priority",
    "subject",
    "namespaces",
    "pods",
    "action",
    "name",
    "protocols",
    "tcp",
    "destinationPort",
    "number",
    "range",
    "start",
    "end",
    "networks",
    "nodes",
    "domainNames",
    "destinationNamedPort",
    "portNumber",
    "portRange",
    "namedPort",
    "sameLabels",
]
WORDS = ("In", "Exists", "TCP", "Admin", "Accept", "Deny", "Pass", "10.0.0.0/8", "::/0", "Ingress")
atoms = (
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
anything = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=25,
)


@given(st.sampled_from(tuple(RESOURCES)), anything)
def test_whatever_the_spec_is_there_is_a_policy(kind: Kind, spec: Any):
    raw = {"metadata": {"name": "p", "namespace": "default", "generation": 2}, "spec": spec}

    policy = read_policy(kind, RESOURCES[kind], raw)

    assert policy.key.name == "p"
