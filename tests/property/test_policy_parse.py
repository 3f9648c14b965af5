"""Whatever somebody writes in a manifest, it is read, or refused; and what is not known closes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.errors import UsageError
from terway.policy.policies import NetworkPolicy
from terway.policy.reading.parse import parse_namespace, parse_node, parse_pod, parse_policy

PEERS = [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}]
NETWORK: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"namespace": "shop", "name": "p", "generation": 1},
    "spec": {
        "podSelector": {"matchLabels": {"app": "a"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": PEERS, "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}]}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
    },
}
CLUSTER: dict[str, Any] = {
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "c"},
    "spec": {
        "tier": "Admin",
        "priority": 5,
        "subject": {"pods": {"namespaceSelector": {}, "podSelector": {}}},
        "ingress": [{"name": "r", "action": "Deny", "from": [{"namespaces": {}}]}],
        "egress": [
            {
                "action": "Accept",
                "to": [{"networks": ["10.0.0.0/8"]}, {"nodes": {"matchLabels": {"a": "b"}}}],
                "protocols": [
                    {"tcp": {"destinationPort": {"range": {"start": 1, "end": 2}}}},
                    {"destinationNamedPort": "web"},
                ],
            }
        ],
    },
}
ADMIN: dict[str, Any] = {
    "apiVersion": "policy.networking.k8s.io/v1alpha1",
    "kind": "AdminNetworkPolicy",
    "metadata": {"name": "c"},
    "spec": {
        "priority": 5,
        "subject": {"namespaces": {}},
        "egress": [
            {
                "action": "Allow",
                "to": [{"namespaces": {}}],
                "ports": [{"portNumber": {"port": 80}}, {"portRange": {"start": 1, "end": 2}}],
            }
        ],
    },
}
POD: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "a", "labels": {"app": "a"}},
    "spec": {
        "nodeName": "n1",
        "containers": [{"ports": [{"name": "http", "containerPort": 80}]}],
        "initContainers": [{"restartPolicy": "Always", "ports": []}],
    },
    "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)

Path = tuple[str | int, ...]


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        if isinstance(child, dict | list):
            yield from _places(child, (*path, key))
        else:
            yield (*path, key)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _objects(manifest: dict[str, Any]) -> list[Path]:
    """Return where a field is one of the API: not among labels, whose keys are free."""
    return [
        path
        for path in _places(manifest["spec"], ("spec",))
        if path[-1] != "matchLabels"
        if isinstance(_at({"spec": manifest["spec"]}, path), dict)
    ]


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            (parse_policy, NETWORK),
            (parse_policy, CLUSTER),
            (parse_policy, ADMIN),
            (parse_pod, POD),
            (parse_namespace, {"metadata": {"name": "shop", "labels": {"a": "b"}}}),
            (parse_node, {"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "x"}]}}),
        ]
    ),
    st.data(),
    JSON,
)
def test_anything_anywhere_is_read_or_refused(reader, data, junk):
    parse, manifest = reader
    path = data.draw(st.sampled_from([place for place in _places(manifest) if place]))
    broken = copy.deepcopy(manifest)
    _at(broken, path[:-1])[path[-1]] = junk

    with suppress(UsageError):
        parse(broken)


@settings(deadline=None)
@given(st.sampled_from([NETWORK, CLUSTER, ADMIN]), st.data())
def test_a_field_that_nobody_knows_is_told_wherever_it_is(manifest, data):
    path = data.draw(st.sampled_from(_objects(manifest)))
    newer = copy.deepcopy(manifest)
    _at(newer, path)["fromTheFuture"] = {}

    try:
        policy = parse_policy(newer)
    except UsageError as refused:
        told: tuple[str, ...] = (str(refused),)
    else:
        cautions = () if isinstance(policy, NetworkPolicy) else policy.cautions
        told = (policy.fault, *cautions)

    assert any("fromTheFuture" in text for text in told)
