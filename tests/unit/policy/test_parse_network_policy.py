"""A NetworkPolicy manifest becomes a value; what is wrong with it is said, and closes it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from terway.model.errors import UsageError
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.policy.cluster import Protocol
from terway.policy.policies import (
    BlockPeer,
    Kind,
    NetworkPolicy,
    PodPeer,
    PolicyKey,
    PortName,
    PortRange,
    Rule,
)
from terway.policy.reading.parse import parse_policy


def _read(spec: dict[str, Any], **metadata: Any) -> NetworkPolicy:
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "p", **metadata},
        "spec": spec,
    }
    policy = parse_policy(manifest)
    assert isinstance(policy, NetworkPolicy)
    return policy


def _labels(**labels: str) -> Selector:
    return Selector(
        requirements=frozenset(
            Requirement(key=key, operator=Operator.IN, values=frozenset((value,)))
            for key, value in labels.items()
        )
    )


def test_every_part_is_where_it_belongs():
    policy = _read(
        {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {}},
                        {"namespaceSelector": {"matchLabels": {"team": "a"}}},
                        {"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}},
                    ],
                    "ports": [{"port": 80, "endPort": 90}, {"port": "web", "protocol": "UDP"}],
                }
            ],
        },
        generation=7,
        uid="u-1",
    )

    assert policy == NetworkPolicy(
        key=PolicyKey(kind=Kind.NETWORK, namespace="shop", name="p"),
        pods=_labels(app="web"),
        ingress=(
            Rule(
                index=0,
                peers=(
                    PodPeer(namespaces="shop", pods=EVERYTHING),
                    PodPeer(namespaces=_labels(team="a"), pods=EVERYTHING),
                    BlockPeer(
                        block=ip_network("10.1.0.0/16"), excepts=(ip_network("10.1.2.0/24"),)
                    ),
                ),
                ports=(
                    PortRange(protocol=Protocol.TCP, first=80, last=90),
                    PortName(name="web", protocol=Protocol.UDP),
                ),
            ),
        ),
        egress=(),
        generation=7,
        uid="u-1",
    )


def test_a_manifest_without_a_namespace_is_in_the_default_one():
    assert _read({}, namespace=None).key.namespace == "default"


def test_absent_and_empty_lists_are_told_apart_where_the_api_does():
    absent = _read({"policyTypes": ["Egress"]})
    empty = _read({"policyTypes": ["Egress"], "egress": []})
    open_to_all = _read({"policyTypes": ["Egress"], "egress": [{}]})

    assert (absent.ingress, absent.egress) == (None, ())
    assert empty == absent
    assert open_to_all.egress == (Rule(index=0, peers=None, ports=None),)


@pytest.mark.parametrize(
    ("written", "block", "excepts"),
    [
        ({"cidr": "10.1.2.3/8"}, "10.0.0.0/8", ()),
        ({"cidr": "010.001.0.0/16"}, "10.1.0.0/16", ()),
        ({"cidr": "0.0.0.0/0"}, "0.0.0.0/0", ()),
        ({"cidr": "fd00::5/8"}, "fd00::/8", ()),
        ({"cidr": "10.0.0.0/8", "except": ["10.9.9.9/16"]}, "10.0.0.0/8", ("10.9.0.0/16",)),
        ({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8", "fd00::/8"]}, "10.0.0.0/8", ()),
        ({"cidr": "10.1.0.0/16", "except": ["10.0.0.0/8"]}, "10.1.0.0/16", ("10.1.0.0/16",)),
    ],
)
def test_blocks_are_read_as_kubernetes_reads_them(written, block, excepts):
    """bug class 48: host bits, leading zeros, exceptions that lie elsewhere"""
    policy = _read({"ingress": [{"from": [{"ipBlock": written}]}]})

    peer = BlockPeer(block=ip_network(block), excepts=tuple(ip_network(hole) for hole in excepts))
    assert policy.fault == ""
    assert policy.ingress == (Rule(index=0, peers=(peer,), ports=None),)


def test_a_long_list_of_exceptions_is_kept_whole():
    holes = [f"10.0.{number}.0/24" for number in range(200)]

    policy = _read({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": holes}}]}]})

    assert policy.ingress is not None
    (peer,) = policy.ingress[0].peers or ()
    assert isinstance(peer, BlockPeer)
    assert [str(hole) for hole in peer.excepts] == holes


RULE = "spec.ingress[0]"


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}, "from[0].ipBlock.cidr", "'10.0.0.0'"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}, "from[0].ipBlock.cidr", "10.0.0.0/33"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}, "from[0].ipBlock.cidr", "255"),
        ({"from": [{"ipBlock": {"cidr": "fe80::%eth0/64"}}]}, "from[0].ipBlock.cidr", "eth0"),
        ({"from": [{"ipBlock": {"cidr": 10}}]}, "from[0].ipBlock.cidr", "10"),
        ({"from": [{"ipBlock": {}}]}, "from[0].ipBlock.cidr", "''"),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}}]},
            "from[0].ipBlock.except[0]",
            "'x'",
        ),
        ({"from": [{}]}, "from[0]", "{}"),
        ({"from": [{"podSelector": []}]}, "from[0].podSelector", "[]"),
        ({"from": {"podSelector": {}}}, "from", "podSelector"),
        ({"from": ["web"]}, "from[0]", "'web'"),
        ({"to": [{"podSelector": {}}]}, "to", "podSelector"),
        ({"ports": [{"port": True}]}, "ports[0].port", "True"),
        ({"ports": [{"port": 80.5}]}, "ports[0].port", "80.5"),
        ({"ports": [{"port": "80"}]}, "ports[0].port", "'80'"),
        ({"ports": [{"port": "Web"}]}, "ports[0].port", "'Web'"),
        ({"ports": [{"port": "a-name-too-long-"}]}, "ports[0].port", "a-name"),
        ({"ports": [{"port": "sixteen-letters1"}]}, "ports[0].port", "sixteen"),
        ({"ports": [{"port": "a--b"}]}, "ports[0].port", "a--b"),
        ({"ports": [{"port": 90, "endPort": 80}]}, "ports[0].endPort", "80"),
        ({"ports": [{"port": "web", "endPort": 80}]}, "ports[0].endPort", "80"),
        ({"ports": [{"endPort": 80}]}, "ports[0].endPort", "80"),
        ({"ports": [{"protocol": "tcp"}]}, "ports[0].protocol", "'tcp'"),
        ({"ports": [{"port": 80, "ports": "81"}]}, "ports[0].ports", "'81'"),
        ({"when": "later"}, "when", "'later'"),
    ],
)
def test_what_cannot_be_read_is_named_and_closes_the_policy(rule, path, value):
    policy = _read({"policyTypes": ["Ingress"], "ingress": [rule, {}]})

    assert (policy.ingress, policy.egress) == ((), None)
    field, _, remedy = policy.fault.partition(": ")
    assert field.startswith(f"{RULE}.{path} is ")
    assert value in field
    assert remedy


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ({"operator": "Exists"}, "key"),
        ({"key": "a", "operator": "Like"}, "operator"),
        ({"key": "a"}, "operator"),
        ({"key": "a", "operator": "In"}, "values"),
        ({"key": "a", "operator": "NotIn", "values": []}, "values"),
        ({"key": "a", "operator": "Exists", "values": ["b"]}, "values"),
        ({"key": "a", "operator": "DoesNotExist", "values": ["b"]}, "values"),
        ({"key": "a", "operator": "In", "values": [1]}, "values[0]"),
        ({"key": "a", "operator": "In", "values": ["b"], "fuzzy": True}, "fuzzy"),
    ],
)
def test_a_selector_that_cannot_be_read_is_named(expression, path):
    policy = _read({"ingress": [{"from": [{"podSelector": {"matchExpressions": [expression]}}]}]})

    where = f"{RULE}.from[0].podSelector.matchExpressions[0].{path} is "
    assert policy.fault.startswith(where)


@pytest.mark.parametrize("name", ["http", "a", "8a", "a-1-b", "fifteen-letters"])
def test_names_of_ports_are_those_that_containers_may_have(name):
    policy = _read({"ingress": [{"ports": [{"port": name}]}]})

    port = PortName(name=name, protocol=Protocol.TCP)
    assert policy.ingress == (Rule(index=0, peers=None, ports=(port,)),)


def test_rules_of_a_direction_that_is_not_listed_cannot_spoil_it():
    policy = _read({"policyTypes": ["Ingress"], "ingress": [{}], "egress": [{"nonsense": 1}]})

    assert policy.fault == ""
    assert policy.egress is None


@pytest.mark.parametrize(
    ("spec", "is_ingress", "is_egress"),
    [
        ({"policyTypes": ["Egress"], "egress": "all"}, False, True),
        ({"egress": "all"}, True, True),
        ({"policyTypes": "Ingress"}, True, True),
        ({"policyTypes": [1]}, True, True),
        ({"policyTypes": ["Egress", "Both"]}, False, True),
        ({"policyTypes": ["Both"]}, True, True),
        ({"policyTypes": ["Ingress"], "order": 3}, True, False),
    ],
)
def test_a_policy_that_cannot_be_read_isolates_what_it_lists_or_both(spec, is_ingress, is_egress):
    policy = _read(spec)

    assert policy.fault
    assert (policy.ingress == (), policy.egress == ()) == (is_ingress, is_egress)


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (None, "kind"),
        ({"kind": "Pod"}, "kind"),
        ({"kind": "NetworkPolicy", "apiVersion": "crd.projectcalico.org/v1"}, "apiVersion"),
        ({"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1beta9"}, "apiVersion"),
        (
            {"kind": "AdminNetworkPolicy", "apiVersion": "policy.networking.k8s.io/v1alpha2"},
            "apiVersion",
        ),
        (
            {"kind": "ClusterNetworkPolicy", "apiVersion": "policy.networking.k8s.io/v1alpha1"},
            "apiVersion",
        ),
        ({"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1"}, "metadata.name"),
        (
            {
                "kind": "NetworkPolicy",
                "apiVersion": "networking.k8s.io/v1",
                "metadata": {"name": "p"},
                "spec": {"podSelector": {"matchLabels": {"app": 1}}},
            },
            "spec.podSelector.matchLabels.app",
        ),
    ],
)
def test_what_has_no_name_or_selects_nobody_knows_whom_is_refused(manifest, field):
    with pytest.raises(UsageError) as refused:
        parse_policy(manifest)

    assert refused.value.field == field
    assert field in str(refused.value)


def test_every_fault_of_a_policy_is_told_in_the_order_of_its_fields():
    policy = _read(
        {
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}, {}], "ports": [{"port": 70000}]},
                {"form": []},
            ],
            "sticky": True,
        }
    )

    faults = (policy.fault, *policy.more_faults)
    assert [fault.partition(" is ")[0] for fault in faults] == [
        "spec.sticky",
        "spec.ingress[0].from[0].ipBlock.cidr",
        "spec.ingress[0].from[1]",
        "spec.ingress[0].ports[0].port",
        "spec.ingress[1].form",
    ]
    assert policy.ingress == ()


def test_a_generation_that_is_none_is_no_reason_to_refuse():
    assert _read({}, generation="seven", uid=5).generation == 0
