"""What truth tables cannot show of the model: time of creation, values made by hand, errors."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import permutations

import pytest

from terway.model.address import Family
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.model.selector import EVERYTHING, Operator, Requirement, Selector
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Because, End, Flow, NodeEnd, PodEnd
from terway.policy.policies import (
    BlockPeer,
    Kind,
    NetworkPolicy,
    Peer,
    PodPeer,
    PolicyKey,
    Rule,
    UnknownPeer,
)

A, B = PodKey(namespace="x", name="a"), PodKey(namespace="x", name="b")
POD_A = Pod(key=A, addresses=(ip_address("10.0.0.1"),), node=NodeName("n1"))
POD_B = Pod(key=B, addresses=(ip_address("10.0.0.2"), ip_address("fd00::2")))
NODE = Node(name=NodeName("n1"), addresses=(ip_address("192.168.0.1"),))
CLUSTER = Cluster(
    namespaces={"x": Namespace(name="x")}, pods={A: POD_A, B: POD_B}, nodes={NODE.name: NODE}
)


def _policy(name: str, *peers: Peer) -> NetworkPolicy:
    rules = (Rule(index=0, peers=peers, ports=None),) if peers else ()
    key = PolicyKey(kind=Kind.NETWORK, namespace="x", name=name)
    return NetworkPolicy(key=key, pods=EVERYTHING, ingress=rules)


def _at(address: str) -> AddressEnd:
    return AddressEnd(address=ip_address(address))


def _flow(source: End, destination: End, family: Family | None = None) -> Flow:
    return Flow(source=source, destination=destination, port=80, family=family)


def test_an_address_is_that_of_the_pod_created_last():
    early = replace(POD_A, key=PodKey(namespace="x", name="z"), created_at="2026-01-01T00:00:00Z")
    late = replace(POD_A, created_at="2026-01-01T00:00:01Z")
    cluster = Cluster(pods={early.key: early, late.key: late, B: POD_B})

    verdict = evaluate(cluster, [_policy("p")], _flow(PodEnd(pod=B), _at("10.0.0.1")))

    assert verdict.ingress is not None
    assert verdict.ingress.pod == late.key


def test_the_order_of_policies_means_nothing():
    block = BlockPeer(block=ip_network("10.0.0.0/24"))
    policies = [_policy("c"), _policy("b", block), _policy("a", block)]
    flow = _flow(PodEnd(pod=A), PodEnd(pod=B))

    verdicts = {evaluate(CLUSTER, order, flow) for order in permutations(policies)}

    (verdict,) = verdicts
    assert verdict.ingress is not None
    assert verdict.ingress.policy == PolicyKey(kind=Kind.NETWORK, namespace="x", name="a")
    assert verdict.ingress.isolating == 3


def test_an_end_that_is_no_pod_has_no_side():
    verdict = evaluate(CLUSTER, [_policy("p")], _flow(_at("203.0.113.9"), _at("192.168.0.1")))

    assert (verdict.egress, verdict.ingress, verdict.is_allowed) == (None, None, True)


def test_an_unknown_peer_of_a_network_policy_matches_nobody():
    policy = _policy("p", UnknownPeer(field="spec"))

    verdict = evaluate(CLUSTER, [policy], _flow(PodEnd(pod=A), PodEnd(pod=B)))

    assert verdict.ingress is not None
    assert verdict.ingress.because is Because.ISOLATED


def test_a_namespace_that_changes_its_labels_changes_who_is_meant():
    """bug class 53: the labels that count are those of the state that is judged"""
    team = Selector(requirements=frozenset((Requirement(key="team", operator=Operator.EXISTS),)))
    policy = _policy("p", PodPeer(namespaces=team, pods=EVERYTHING))
    labelled = replace(CLUSTER, namespaces={"x": Namespace(name="x", labels={"team": "a"})})
    flow = _flow(PodEnd(pod=A), PodEnd(pod=B))

    said = [evaluate(state, [policy], flow).is_allowed for state in (CLUSTER, labelled, CLUSTER)]

    assert said == [False, True, False]


def test_a_pod_that_nobody_knows_as_a_peer_yet_is_denied():
    """bug class 45: what starts is closed until it is known, as an address like any other"""
    peer = PodPeer(namespaces="x", pods=EVERYTHING)
    flow = _flow(_at("10.0.0.1"), PodEnd(pod=B))
    before = Cluster(namespaces=CLUSTER.namespaces, pods={B: POD_B})

    said = [evaluate(state, [_policy("p", peer)], flow).is_allowed for state in (before, CLUSTER)]

    assert said == [False, True]


def test_the_family_chooses_the_address():
    block = BlockPeer(block=ip_network("fd00::/64"))
    dual = replace(POD_A, addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")))
    cluster = replace(CLUSTER, pods={A: dual, B: POD_B})
    ends = PodEnd(pod=A), PodEnd(pod=B)

    said = [
        evaluate(cluster, [_policy("p", block)], _flow(*ends, family)).is_allowed
        for family in (None, Family.V4, Family.V6)
    ]

    assert said == [False, False, True]


@pytest.mark.parametrize(
    ("flow", "text"),
    [
        (_flow(PodEnd(pod=A), PodEnd(pod=B), Family.V6), "pod x/a has no IPv6 address"),
        (_flow(PodEnd(pod=A), _at("fd00::2")), "pod x/a and fd00::2 have no address of one family"),
        (_flow(_at("10.0.0.1"), NodeEnd(node=NodeName("n2"))), "node n2 is not in the cluster"),
        (_flow(PodEnd(pod=PodKey(namespace="y", name="a")), PodEnd(pod=A)), "pod y/a is not in"),
        (_flow(NodeEnd(node=NodeName("n1")), _at("fd00::2")), "node n1 and fd00::2 have no"),
    ],
)
def test_an_end_that_cannot_be_is_named(flow, text):
    with pytest.raises(UsageError, match=text):
        evaluate(CLUSTER, [], flow)


def test_a_pod_whose_address_is_anothers_now_makes_no_connections():
    heir = replace(POD_A, key=PodKey(namespace="x", name="heir"), created_at="2026-01-01T00:00:00Z")
    cluster = replace(CLUSTER, pods={A: POD_A, heir.key: heir, B: POD_B})

    with pytest.raises(UsageError, match=r"10\.0\.0\.1 of pod x/a is not its own now"):
        evaluate(cluster, [], _flow(PodEnd(pod=A), PodEnd(pod=B)))


def test_an_address_that_a_pod_and_its_heir_both_claim_is_one_only():
    finished = replace(POD_A, is_finished=True)
    heir = replace(POD_A, key=PodKey(namespace="y", name="heir"))
    cluster = replace(CLUSTER, pods={A: finished, heir.key: heir, B: POD_B})

    verdict = evaluate(cluster, [], _flow(_at("10.0.0.1"), PodEnd(pod=B)))

    assert verdict.egress is not None
    assert verdict.egress.pod == heir.key
