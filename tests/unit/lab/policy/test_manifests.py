"""A policy goes to the API such that it is taken, and says the same."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from terway.lab.policy.blocks import Addresses
from terway.lab.policy.manifests import MARK, has_blocks, translate
from terway.model.errors import UsageError

ADDRESSES = Addresses(
    real={ip_address("10.0.0.1"): ip_address("192.168.32.1")},
    ranges=(ip_network("192.168.0.0/16"),),
)


def network_policy(**rule) -> dict:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"podSelector": {}, "ingress": [rule]},
    }


def rule_of(manifest: dict[str, Any]) -> Any:
    (made,) = translate([manifest], ADDRESSES)
    return made["spec"]["ingress"][0]


def test_a_block_becomes_as_many_peers_as_it_takes():
    written = network_policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})

    assert rule_of(written)["from"] == [
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
        {"ipBlock": {"cidr": "192.168.32.1/32"}},
    ]


def test_a_peer_that_holds_nobody_in_the_lab_is_one_that_matches_nobody():
    peer = {"ipBlock": {"cidr": "192.168.32.0/24"}}

    (made,) = rule_of(network_policy(**{"from": [peer]}))["from"]

    operators = [one["operator"] for one in made["podSelector"]["matchExpressions"]]
    assert operators == ["Exists", "DoesNotExist"]


def test_a_rule_without_peers_stays_one_for_everybody():
    assert "from" not in rule_of(network_policy())


def test_a_port_above_the_last_is_none():
    written = network_policy(ports=[{"port": 80, "endPort": 65537}])

    assert rule_of(written)["ports"] == [{"port": 80, "endPort": 65535}]


def test_names_are_such_as_the_api_takes_and_the_only_baseline_is_named_default():
    baseline = {
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "BaselineAdminNetworkPolicy",
        "metadata": {"name": "z-Deny"},
        "spec": {"subject": {"pods": {"podSelector": {}}}},
    }
    strange = {**network_policy(), "metadata": {"name": "Allow_All", "namespace": "x"}}

    made = translate([baseline, strange], ADDRESSES)

    assert [one["metadata"]["name"] for one in made] == ["default", "allow-all"]
    assert all(MARK in one["metadata"]["annotations"] for one in made)


def test_selectors_that_a_typed_client_sends_empty_are_sent():
    policy = {
        "kind": "AdminNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "subject": {"namespaces": {}},
            "egress": [{"to": [{"pods": {"namespaceSelector": {}}}]}],
        },
    }

    (made,) = translate([policy], ADDRESSES)

    peer: Any = {"pods": {"namespaceSelector": {}, "podSelector": {}}}
    assert made["spec"]["egress"] == [{"to": [peer]}]


def test_networks_are_plain_ranges_of_at_most_25_in_a_peer():
    policy = {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"egress": [{"to": [{"networks": ["128.0.0.0/1", "10.0.0.0/32"]}]}]},
    }

    (made,) = translate(
        [policy],
        Addresses(
            real={
                ip_address(f"200.0.0.{last}"): ip_address(f"192.168.32.{last}")
                for last in range(1, 30)
            }
            | {ip_address("10.0.0.1"): ip_address("192.168.40.1")},
            ranges=(ip_network("192.168.0.0/16"),),
        ),
    )

    peers = made["spec"]["egress"][0]["to"]
    assert [len(peer["networks"]) for peer in peers] == [25, 20]


def test_the_case_itself_is_not_changed():
    written = network_policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})

    translate([written], ADDRESSES)

    assert written["spec"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


def test_a_block_that_is_none_is_refused():
    with pytest.raises(UsageError, match="block that is none"):
        translate([network_policy(**{"from": [{"ipBlock": {"cidr": "ten/8"}}]})], ADDRESSES)


def test_only_blocks_and_networks_name_addresses():
    assert has_blocks([network_policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})])
    assert not has_blocks([network_policy(**{"from": [{"podSelector": {}}]})])
