"""Cluster policies of both versions become one value; what cannot be read fails closed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from terway.model.errors import UsageError
from terway.model.selector import EVERYTHING
from terway.policy.cluster import Protocol
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Kind,
    NodePeer,
    PodPeer,
    PolicyKey,
    PortName,
    PortRange,
    Rule,
    Tier,
    UnknownPeer,
)
from terway.policy.reading.parse import parse_policy

ALL: dict[str, Any] = {"namespaces": {}}
EVERY_POD = PodPeer(namespaces=EVERYTHING, pods=EVERYTHING)


def _read(kind: str = "ClusterNetworkPolicy", answers: Any = None, **spec: Any) -> ClusterPolicy:
    version = "v1alpha2" if kind == "ClusterNetworkPolicy" else "v1alpha1"
    defaults: dict[str, Any] = {"subject": ALL}
    if kind == "ClusterNetworkPolicy":
        defaults |= {"tier": "Admin", "priority": 5}
    if kind == "AdminNetworkPolicy":
        defaults |= {"priority": 5}
    manifest = {
        "apiVersion": f"policy.networking.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": "c", "generation": 3, "uid": "u"},
        "spec": defaults | spec,
    }
    policy = parse_policy(manifest, answers=answers or {})
    assert isinstance(policy, ClusterPolicy)
    return policy


def _egress(*peers: Any, **rule: Any) -> ClusterPolicy:
    return _read(egress=[{"action": "Accept", "to": list(peers), **rule}])


def test_every_part_is_where_it_belongs():
    policy = _read(
        tier="Baseline",
        priority=1000,
        subject={"pods": {"podSelector": {}}},
        ingress=[{"name": "in", "action": "Pass", "from": [ALL]}],
        egress=[
            {"action": "Deny", "to": [{"nodes": {}}]},
            {
                "action": "Accept",
                "to": [ALL, {"networks": ["10.0.0.7/8", "fd00::/8"]}],
                "protocols": [
                    {"tcp": {"destinationPort": {"number": 80}}},
                    {"udp": {"destinationPort": {"range": {"start": 5, "end": 6}}}},
                    {"sctp": {}},
                ],
            },
        ],
    )

    assert policy == ClusterPolicy(
        key=PolicyKey(kind=Kind.CLUSTER, name="c"),
        tier=Tier.BASELINE,
        priority=1000,
        subject=EVERY_POD,
        ingress=(Rule(index=0, name="in", action=Action.PASS, peers=(EVERY_POD,), ports=None),),
        egress=(
            Rule(index=0, action=Action.DENY, peers=(NodePeer(nodes=EVERYTHING),), ports=None),
            Rule(
                index=1,
                peers=(
                    EVERY_POD,
                    BlockPeer(block=ip_network("10.0.0.0/8")),
                    BlockPeer(block=ip_network("fd00::/8")),
                ),
                ports=(
                    PortRange(protocol=Protocol.TCP, first=80, last=80),
                    PortRange(protocol=Protocol.UDP, first=5, last=6),
                    PortRange(protocol=Protocol.SCTP),
                ),
            ),
        ),
        generation=3,
        uid="u",
    )


def test_the_older_kinds_have_their_place_and_their_words():
    rule = {
        "action": "Allow",
        "from": [ALL],
        "ports": [
            {"portNumber": {"port": 80}},
            {"portRange": {"protocol": "UDP", "start": 5, "end": 6}},
            {"namedPort": "web"},
        ],
    }

    admin = _read("AdminNetworkPolicy", ingress=[rule])
    baseline = _read("BaselineAdminNetworkPolicy", ingress=[rule])

    assert (admin.key.kind, admin.tier, admin.priority) == (Kind.ADMIN, Tier.ADMIN, 5)
    assert (baseline.key.kind, baseline.tier) == (Kind.BASELINE_ADMIN, Tier.BASELINE)
    assert admin.ingress == baseline.ingress
    assert admin.ingress[0] == Rule(
        index=0,
        peers=(EVERY_POD,),
        ports=(
            PortRange(protocol=Protocol.TCP, first=80, last=80),
            PortRange(protocol=Protocol.UDP, first=5, last=6),
            PortName(name="web"),
        ),
    )
    assert (admin.fault, admin.cautions) == ("", ())


@pytest.mark.parametrize(
    ("peer", "path"),
    [
        ({}, ""),
        ({"wormholes": {}}, ".wormholes"),
        ({"namespaces": {}, "nodes": {}}, ""),
        ({"namespaces": {"matchLabels": {"a": 1}}}, ".namespaces.matchLabels.a"),
        ({"pods": {"podSelector": {}, "ips": []}}, ".pods.ips"),
        ({"networks": ["10.0.0.0"]}, ".networks[0]"),
        ({"networks": []}, ".networks"),
        ({"domainNames": ["a.example"]}, ".domainNames"),
    ],
)
def test_a_peer_that_cannot_be_read_matches_nobody_in_accept(peer, path):
    policy = _egress(peer, ALL, protocols=[{"tcp": {}}])

    unknown = UnknownPeer(field=f"spec.egress[0].to[0]{path}")
    assert policy.egress[0].peers == (unknown, EVERY_POD)
    assert policy.egress[0].ports is not None
    (caution,) = policy.cautions
    assert caution.startswith(f"{unknown.field} is ")
    assert caution.endswith("until then it matches nobody")


@pytest.mark.parametrize("action", ["Deny", "Pass"])
@pytest.mark.parametrize("peer", [{"wormholes": {}}, {"domainNames": ["a.example"]}])
def test_a_peer_that_cannot_be_read_denies_on_every_port_elsewhere(action, peer):
    policy = _egress(peer, ALL, action=action, protocols=[{"tcp": {}}])

    (rule,) = policy.egress
    assert rule.ports is None
    assert isinstance((rule.peers or ())[0], UnknownPeer)
    assert policy.cautions[0].endswith("until then it denies everybody")


@pytest.mark.parametrize(
    ("change", "field", "action"),
    [
        ({"to": None}, "to", Action.ACCEPT),
        ({"to": [], "action": "Pass"}, "to", Action.PASS),
        ({"to": "all"}, "to", Action.ACCEPT),
        ({"action": "Allow"}, "action", Action.DENY),
        ({"action": None}, "action", Action.DENY),
        ({"log": True}, "log", Action.ACCEPT),
        ({"name": 5}, "name", Action.ACCEPT),
        ({"ports": [{"namedPort": "web"}]}, "ports", Action.ACCEPT),
        ({"protocols": [{}]}, "protocols[0]", Action.ACCEPT),
        ({"protocols": [{"icmp": {}}]}, "protocols[0].icmp", Action.ACCEPT),
        ({"protocols": [{"tcp": {}, "udp": {}}]}, "protocols[0]", Action.ACCEPT),
        ({"protocols": [{"tcp": {"flags": "S"}}]}, "protocols[0].tcp.flags", Action.ACCEPT),
        (
            {"protocols": [{"tcp": {"destinationPort": {"number": 0}}}]},
            "protocols[0].tcp.destinationPort.number",
            Action.ACCEPT,
        ),
        (
            {"protocols": [{"tcp": {"destinationPort": {"range": {"start": 2, "end": 1}}}}]},
            "protocols[0].tcp.destinationPort.range.end",
            Action.ACCEPT,
        ),
        (
            {"protocols": [{"tcp": {"destinationPort": {"range": {"start": 2}}}}]},
            "protocols[0].tcp.destinationPort.range.end",
            Action.ACCEPT,
        ),
        (
            {"protocols": [{"destinationNamedPort": "80"}]},
            "protocols[0].destinationNamedPort",
            Action.ACCEPT,
        ),
    ],
)
def test_a_rule_that_cannot_be_read_keeps_its_place_and_fails_closed(change, field, action):
    policy = _read(
        egress=[
            {"action": "Accept", "to": [ALL]},
            {"action": "Accept", "to": [ALL]} | change,
            {"action": "Deny", "to": [ALL]},
        ]
    )

    path = f"spec.egress[1].{field}"
    assert [rule.index for rule in policy.egress] == [0, 1, 2]
    assert policy.egress[1] == Rule(
        index=1, peers=(UnknownPeer(field=path),), ports=None, action=action
    )
    assert policy.fault == ""
    assert policy.cautions[0].startswith(f"{path} is ")


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ({}, ""),
        ({"portNumber": {"port": 0}}, ".portNumber.port"),
        ({"portNumber": {"port": 65536}}, ".portNumber.port"),
        ({"portNumber": {"port": 80, "end": 81}}, ".portNumber.end"),
        ({"portNumber": {"protocol": "ICMP", "port": 80}}, ".portNumber.protocol"),
        ({"portRange": {"start": 0, "end": 5}}, ".portRange.start"),
        ({"portRange": {"start": 6, "end": 5}}, ".portRange.end"),
        ({"namedPort": "80"}, ".namedPort"),
    ],
)
def test_a_port_of_the_older_kinds_that_cannot_be_closes_its_rule(port, path):
    policy = _read("AdminNetworkPolicy", egress=[{"action": "Deny", "to": [ALL], "ports": [port]}])

    assert policy.egress[0].peers == (UnknownPeer(field=f"spec.egress[0].ports[0]{path}"),)
    assert policy.egress[0].ports is None


def test_a_rule_that_is_no_object_denies():
    policy = _read(ingress=["everything"])

    assert policy.ingress[0].action is Action.DENY
    assert policy.cautions[0].startswith("spec.ingress[0] is 'everything': ")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"tier": "Boss"}, "spec.tier"),
        ({"tier": None}, "spec.tier"),
        ({"priority": 1001}, "spec.priority"),
        ({"priority": -1}, "spec.priority"),
        ({"priority": None}, "spec.priority"),
        ({"audit": True}, "spec.audit"),
    ],
)
def test_a_policy_without_its_place_denies_first_of_all_where_it_has_rules(spec, field):
    rules = [{"action": "Accept", "from": [ALL]}, {"action": "Accept", "from": [ALL]}]

    policy = _read(ingress=rules, **spec)

    assert policy.fault.startswith(f"{field} is ")
    assert (policy.tier, policy.priority) == (Tier.ADMIN, 0)
    assert policy.ingress == (
        Rule(index=0, peers=(UnknownPeer(field="spec"),), ports=None, action=Action.DENY),
    )
    assert policy.egress == ()


def test_rules_that_are_no_list_are_a_fault_and_deny():
    policy = _read(ingress={"action": "Accept"}, tier="Boss")

    assert policy.fault.startswith("spec.tier is ")
    assert policy.ingress[0].action is Action.DENY


def test_a_fault_of_the_rules_alone_is_told():
    assert _read(ingress="all").fault.startswith("spec.ingress is 'all'")


@pytest.mark.parametrize(
    "subject",
    [None, {}, {"everyone": {}}, {"namespaces": {}, "pods": {}}, {"pods": {"names": []}}, "all"],
)
def test_a_policy_about_nobody_knows_whom_is_refused(subject):
    with pytest.raises(UsageError) as refused:
        _read(subject=subject)

    assert refused.value.field.startswith("spec.subject")


def test_too_many_rules_and_items_are_read_and_cautioned():
    entry = {"tcp": {"destinationPort": {"number": 80}}}
    rule = {"action": "Accept", "to": [ALL], "protocols": [entry] * 26}

    policy = _read(egress=[rule] * 26)

    assert len(policy.egress) == 26
    assert policy.cautions[0] == "spec.egress has 26 items: the API takes 25"
    assert policy.cautions[1] == "spec.egress[0].protocols has 26 items: the API takes 25"


def test_as_many_as_the_api_takes_are_no_caution():
    networks = [f"10.0.{number}.0/24" for number in range(25)]

    policy = _read(egress=[{"action": "Accept", "to": [{"networks": networks}] * 25}] * 25)

    assert policy.cautions == ()


def test_the_older_kinds_take_a_hundred():
    rule = {"action": "Allow", "to": [ALL], "ports": [{"namedPort": "web"}] * 100}

    assert _read("AdminNetworkPolicy", egress=[rule] * 100).cautions == ()
    assert len(_read("AdminNetworkPolicy", egress=[rule] * 101).cautions) == 1


def test_a_name_beside_peers_that_have_none_is_cautioned():
    policy = _egress(ALL, {"nodes": {}}, protocols=[{"destinationNamedPort": "web"}])

    (caution,) = policy.cautions
    assert caution.startswith("spec.egress[0].to[1].nodes beside the named port 'web'")


def test_domain_names_are_what_answers_say():
    answers = {"www.a.example": [ip_address("203.0.113.9"), ip_address("2001:db8::9")]}
    rule = {"action": "Accept", "to": [{"domainNames": ["*.a.example"]}]}

    policy = _read(answers=answers, egress=[rule])

    assert policy.cautions == ()
    assert policy.egress[0].peers == (
        BlockPeer(block=ip_network("203.0.113.9/32")),
        BlockPeer(block=ip_network("2001:db8::9/128")),
    )


def test_a_domain_name_without_an_answer_is_nobody():
    answers = {"b.example": [ip_address("203.0.113.9")]}
    rule = {"action": "Accept", "to": [{"domainNames": ["a.example"]}]}

    policy = _read(answers=answers, egress=[rule])

    assert policy.egress[0].peers == (UnknownPeer(field="spec.egress[0].to[0].domainNames"),)


def test_equal_numbers_go_by_name_then_by_kind():
    first, second = _read(), _read("AdminNetworkPolicy")

    assert sorted([first, second], key=lambda policy: policy.rank) == [second, first]
    assert _read(priority=4).rank < second.rank
