"""What policy verify compares: the node's rules, and those inside of pods with an ENI."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from terway.cli.hops import Packet, State
from terway.cli.policy_objects import Manifests
from terway.cli.policy_places import Spot, differences, missing_links, spots_of, wish_of
from terway.cli.policy_verified import read_links
from terway.cli.walk_policy import Rules, policy_hops
from terway.model.attachment import Attachment
from terway.model.ids import NodeName
from terway.model.interface import InterfaceSpec, Mode
from terway.model.nft import Table
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.nft.answers import on_paper
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Place
from terway.policy.reading.parse import parse_policy
from tests.support.attachments import attachment
from tests.support.netns import scratch_netns

NODE = NodeName("n1")
MANIFEST: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "b"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}],
    },
}
OPEN = {**MANIFEST, "spec": {**MANIFEST["spec"], "ingress": [{}]}}
SHARED = attachment(1)
EXCLUSIVE = replace(attachment(2, netns="/run/netns/two"), spec=InterfaceSpec(mode=Mode.EXCLUSIVE))
HELD = (SHARED, EXCLUSIVE)


def pod_of(held: Attachment, app: str) -> Pod:
    assert held.pod is not None
    return Pod(
        key=PodKey(namespace=held.pod.namespace, name=held.pod.name),
        labels={"app": app},
        addresses=tuple(held.lease.addresses),
        node=NODE,
    )


PODS = (pod_of(SHARED, "a"), pod_of(EXCLUSIVE, "b"))
CLUSTER = Cluster(pods={pod.key: pod for pod in PODS})
POLICY = parse_policy(MANIFEST)


def printed(spot: Spot, manifest: dict[str, Any] = MANIFEST) -> Table:
    """The table that terwayd would have made there."""
    wish = wish_of(CLUSTER, [parse_policy(manifest)], HELD, NODE)
    sides = {key: wish.sides[key] for key in spot.links if key in wish.sides}
    place = Place.NODE if spot.pod is None else Place.POD
    return on_paper(Printer(place).adopt(replace(wish, sides=sides), spot.links, None))


def test_an_interface_of_a_restricted_pod_that_has_another_name_is_told() -> None:
    """Rules go by names: whoever renames one lets everything past them."""
    wish = wish_of(CLUSTER, [POLICY], HELD, NODE)
    node, inside = spots_of(HELD)

    at_node = list(missing_links(wish, node, {"eth0", "renamed"}))
    inside_pod = list(missing_links(wish, inside, {"lo", "renamed"}))

    assert len(at_node) == len(inside_pod) == 1
    assert inside_pod[0].startswith(f"interface eth0 of {PODS[1].key} is not there")
    assert list(missing_links(wish, node, set(node.links.values()))) == []


@pytest.mark.root
def test_the_interfaces_that_verify_asks_for_are_those_of_node_and_pods() -> None:
    with scratch_netns() as netns:
        netns.run("ip link add eth0 type veth peer name far")
        held = (SHARED, replace(EXCLUSIVE, netns=netns.path))

        links = read_links(held)

    assert links.keys() == {"", netns.path}
    assert {"lo", "eth0"} <= links[netns.path]
    assert read_links(held).keys() == {""}


def test_a_pod_with_an_eni_of_its_own_is_judged_at_the_node_and_inside() -> None:
    node, inside = spots_of(HELD)

    assert (node.netns, inside.netns) == ("", "/run/netns/two")
    assert set(node.links) == {pod.key for pod in PODS}
    assert inside.links == {PODS[1].key: "eth0"}


@pytest.mark.parametrize("at", [0, 1])
def test_rules_that_say_what_policies_say_do_not_differ(at: int) -> None:
    spot = spots_of(HELD)[at]
    wish = wish_of(CLUSTER, [POLICY], HELD, NODE)

    assert not list(differences(wish, spot, printed(spot)))


@pytest.mark.parametrize("at", [0, 1])
def test_rules_of_another_policy_and_a_table_that_is_gone_differ(at: int) -> None:
    spot = spots_of(HELD)[at]
    wish = wish_of(CLUSTER, [POLICY], HELD, NODE)

    assert list(differences(wish, spot, printed(spot, OPEN)))
    assert list(differences(wish, spot, None))


def test_no_table_is_right_where_nobody_is_restricted() -> None:
    wish = wish_of(CLUSTER, [], HELD, NODE)

    assert not [one for spot in spots_of(HELD) for one in differences(wish, spot, None)]


def packet(port: int | None) -> Packet:
    stranger = attachment(9).lease.addresses.v4
    target = PODS[1].addresses[0]
    assert stranger is not None
    return Packet(source=stranger, destination=target, port=port)


def rules(**more: object) -> Rules:
    manifests = Manifests(cluster=CLUSTER, policies=(POLICY,), origins={})
    return replace(Rules(manifests=manifests), **more)  # type: ignore[arg-type]


def test_why_ends_at_the_policy_that_denies() -> None:
    (hop,) = policy_hops(rules(), packet(80))

    assert hop.state is State.FAIL
    assert "NetworkPolicy default/closed" in hop.text
    assert hop.denied_at == (packet(80).destination,)
    assert hop.remedy


def test_why_says_no_more_of_policies_than_it_knows() -> None:
    (no_port,) = policy_hops(rules(), packet(None))
    (not_read,) = policy_hops(Rules(reason="the API server is away"), packet(80))
    (off,) = policy_hops(rules(are_off=True), packet(80))

    assert (no_port.state, not_read.state) == (State.UNKNOWN, State.UNKNOWN)
    assert off.state is State.OK
    assert "NetworkPolicy is off here" in off.text


def test_why_judges_a_second_interface_by_the_policies_of_its_pod() -> None:
    second = ip_address("10.99.0.1")
    asked = replace(packet(80), destination=second)

    (unknown_to_all,) = policy_hops(rules(), asked)
    (known,) = policy_hops(rules(), asked, {second: PODS[1].key})

    assert unknown_to_all.state is State.OK
    assert known.state is State.FAIL
    assert "NetworkPolicy default/closed" in known.text
