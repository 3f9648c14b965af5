"""What the server makes of policies, and which it refuses in the words of the real one."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import metadata, read_path
from terway.lab.kubeapi.resources import (
    ADMIN_NETWORK_POLICY,
    BASELINE_ADMIN_NETWORK_POLICY,
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
    POLICY_NODE_STATUS,
)
from terway.lab.kubeapi.writes import WriteOptions
from tests.support.cluster import make_cluster

RANGE = "must be between 1 and 65535, inclusive"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def network_policy(**spec) -> dict:
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": {"podSelector": {}, **spec}}


def cluster_policy(**spec) -> dict:
    base = {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}}
    return {"metadata": {"name": "p"}, "spec": {**base, **spec}}


def refusal(resource, policy) -> str:
    with pytest.raises(ApiError) as caught:
        make_cluster().create(resource, policy, metadata(policy).get("namespace", ""))
    assert caught.value.code == 422
    return caught.value.message.split(" is invalid: ", 1)[1]


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": []}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": []}, ["Ingress"]),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, ["Egress"]),
    ],
)
def test_policy_types_follow_from_the_rules_where_they_are_not_given(spec, types):
    stored = make_cluster().create(NETWORK_POLICY, network_policy(**spec)).object

    assert stored["spec"]["policyTypes"] == types


def test_a_port_without_a_protocol_is_tcp_named_or_not():
    ports = [{"port": 80}, {"port": "web"}, {}, {"protocol": "UDP"}]

    stored = make_cluster().create(NETWORK_POLICY, network_policy(ingress=[{"ports": ports}]))

    held = read_path(stored.object, "spec.ingress")[0]["ports"]
    assert [port["protocol"] for port in held] == ["TCP", "TCP", "TCP", "UDP"]


def rule(**port) -> dict:
    return {"ingress": [{"ports": [port]}]}


def peer(**held) -> dict:
    return {"egress": [{"to": [held]}]}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (rule(port=0), f"spec.ingress[0].ports[0].port: Invalid value: 0: {RANGE}"),
        (
            rule(port=90, endPort=80),
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than "
                "or equal to `port`"
            ),
        ),
        (
            rule(port="web", endPort=80),
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
                "`port` is non-numeric"
            ),
        ),
        (
            rule(endPort=80),
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
                "`port` is not specified"
            ),
        ),
        (rule(port=80, endPort=65536), f"endPort: Invalid value: 65536: {RANGE}"),
        (rule(port="a--b"), "must not contain consecutive hyphens"),
        (rule(port="80"), "must contain at least one letter (a-z)"),
        (
            rule(protocol="ICMP"),
            'Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
        ),
        (peer(), "spec.egress[0].to[0]: Required value: must specify a peer"),
        (
            peer(ipBlock={"cidr": "10.0.0.0/8"}, podSelector={}),
            "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
        (
            peer(ipBlock={"cidr": "10.0.0.0"}),
            f'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.0": {CIDR}',
        ),
        (
            peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}),
            'ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a strict subset of `cidr`',
        ),
        (
            peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}),
            "must be a strict subset of `cidr`",
        ),
        (
            peer(ipBlock={"cidr": "0.0.0.0/0", "except": ["fd00::/8"]}),
            "must be a strict subset of `cidr`",
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.podSelector.matchExpressions[0].values: Required value",
        ),
        (
            peer(
                podSelector={
                    "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
                }
            ),
            "values: Forbidden: may not be specified when `operator` is 'Exists'",
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            'operator: Invalid value: "Like": not a valid selector operator',
        ),
        ({"podSelector": {"matchLabels": {"a": "b c"}}}, "spec.podSelector.matchLabels"),
        (
            {"policyTypes": ["Both"]},
            'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Ingress", "Egress"',
        ),
    ],
)
def test_a_network_policy_that_means_nothing_is_refused_by_its_field(spec, words):
    assert words in refusal(NETWORK_POLICY, network_policy(**spec))


@pytest.mark.parametrize("cidr", ["10.1.2.3/8", "010.0.0.0/8", "2001:db8::1/33", "0.0.0.0/0"])
def test_host_bits_and_leading_zeros_of_a_cidr_are_tolerated(cidr):
    policy = network_policy(**peer(ipBlock={"cidr": cidr}))

    stored = make_cluster().create(NETWORK_POLICY, policy).object

    assert stored["spec"]["egress"] == policy["spec"]["egress"]


def test_generation_counts_changes_of_the_spec_only():
    state = make_cluster()
    policy = network_policy()
    state.create(NETWORK_POLICY, policy)

    policy["metadata"]["labels"] = {"a": "b"}
    labelled = state.update(NETWORK_POLICY, "p", "default", policy).object
    policy["spec"]["ingress"] = [{}]
    changed = state.update(NETWORK_POLICY, "p", "default", policy).object

    assert [metadata(one)["generation"] for one in (labelled, changed)] == [1, 2]


PEER: dict[str, object] = {"namespaces": {}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tier": "Other"}, 'spec.tier: Unsupported value: "Other"'),
        (
            {"priority": 1001},
            (
                "spec.priority: Invalid value: 1001: spec.priority in body should be less than or "
                "equal to 1000"
            ),
        ),
        ({"priority": "5"}, "spec.priority in body must be of type integer"),
        ({"subject": {}}, "spec.subject in body should have at least 1 properties"),
        (
            {"subject": {"pods": {"namespaceSelector": {}}}},
            "spec.subject.pods.podSelector: Required value",
        ),
        (
            {"ingress": [{"action": "Allow", "from": [PEER]}]},
            'spec.ingress[0].action: Unsupported value: "Allow"',
        ),
        ({"ingress": [{"action": "Deny"}]}, "spec.ingress[0].from: Required value"),
        (
            {"ingress": [{"action": "Deny", "from": [PEER]}] * 26},
            "spec.ingress: Too many: 26: must have at most 25 items",
        ),
        (
            {"egress": [{"action": "Deny", "to": [{"networks": ["10.0.0.0"]}]}]},
            'networks[0]: Invalid value: "10.0.0.0": Invalid CIDR format provided',
        ),
        (
            {
                "egress": [
                    {
                        "action": "Deny",
                        "to": [PEER],
                        "protocols": [
                            {"tcp": {"destinationPort": {"range": {"start": 9, "end": 9}}}}
                        ],
                    }
                ]
            },
            "Start port must be less than End port",
        ),
        (
            {
                "egress": [
                    {
                        "action": "Deny",
                        "to": [{"networks": ["10.0.0.0/8"]}],
                        "protocols": [{"destinationNamedPort": "web"}],
                    }
                ]
            },
            "networks/nodes/domainNames peer cannot be set with namedPorts",
        ),
    ],
)
def test_a_cluster_policy_that_its_schema_forbids_is_refused_by_its_field(spec, words):
    assert words in refusal(CLUSTER_NETWORK_POLICY, cluster_policy(**spec))


def test_fields_of_a_newer_cluster_policy_are_kept_for_whoever_enforces_it():
    unknown = {"action": "Deny", "to": [{"planets": {"name": "mars"}}]}
    strict = WriteOptions(field_validation="Strict")

    stored = make_cluster().create(
        CLUSTER_NETWORK_POLICY, cluster_policy(egress=[unknown]), "", strict
    )

    assert read_path(stored.object, "spec.egress") == [unknown]


def test_the_older_admin_policies_have_actions_and_ports_of_their_own():
    state = make_cluster()
    port = {"portNumber": {"protocol": "TCP", "port": 80}}
    allow = {"action": "Allow", "from": [PEER], "ports": [port]}
    admin = {"priority": 3, "subject": {"namespaces": {}}, "ingress": [allow]}
    baseline = {"subject": {"namespaces": {}}, "ingress": [allow]}

    state.create(ADMIN_NETWORK_POLICY, {"metadata": {"name": "a"}, "spec": admin})
    state.create(BASELINE_ADMIN_NETWORK_POLICY, {"metadata": {"name": "default"}, "spec": baseline})

    words = refusal(BASELINE_ADMIN_NETWORK_POLICY, {"metadata": {"name": "x"}, "spec": baseline})
    assert "Only one baseline admin network policy" in words


def test_the_status_of_a_cluster_policy_is_written_beside_its_spec():
    state = make_cluster()
    state.create(CLUSTER_NETWORK_POLICY, cluster_policy())
    status = {"conditions": [{"type": "Enforced", "status": "True"}]}

    written = state.update(
        CLUSTER_NETWORK_POLICY, "p", "", {**cluster_policy(priority=9), "status": status},
        subresource="status",
    ).object  # fmt: skip

    assert (written["spec"]["priority"], written["status"]) == (5, status)
    assert metadata(written)["generation"] == 1


def test_a_nodes_policy_status_is_whatever_terwayd_writes():
    spec = {"node": "node-1", "policies": [{"anything": [1]}]}

    stored = make_cluster().create(POLICY_NODE_STATUS, {"metadata": {"name": "n"}, "spec": spec})

    assert stored.object["spec"] == spec
