"""What is compiled for a node allows whom policies name, on their ports, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest

from terway.model.address import Family, IPPair
from terway.model.selector import EVERYTHING
from terway.policy.changes import (
    Attach,
    Detach,
    DropNamespace,
    DropPolicy,
    SetNamespace,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import NamedPort, Namespace, Pod, PodKey, Protocol
from terway.policy.compiling.compiler import Compiler
from terway.policy.policies import (
    Action,
    BlockPeer,
    NodePeer,
    PortName,
    PortRange,
    Tier,
    UnknownPeer,
)
from terway.policy.ports import EVERY_PORT, NOTHING, ports_of
from tests.support.compiled_shop import (
    CLIENT_AT,
    GHOST_AT,
    HERE,
    NODE_AT,
    ONLY_HTTP,
    SERVER,
    above,
    allowed,
    attach,
    clients_may,
    labelled,
    peer,
    pod,
    policy,
    rule,
    shop_compiler,
)


@pytest.fixture
def compiler() -> Compiler:
    return shop_compiler()


def test_a_namespace_with_other_labels_is_another_peer(compiler):
    """bug class 53"""
    wanted = peer("client", labelled("team", "b"))
    compiler.apply([SetPolicy(policy=policy(ingress=(rule(wanted),)))])
    assert allowed(compiler.compiled(), "10.0.0.2") == NOTHING

    compiler.apply([SetNamespace(namespace=Namespace(name="shop", labels={"team": "b"}))])
    assert allowed(compiler.compiled(), "10.0.0.2") == ONLY_HTTP

    compiler.apply([DropNamespace(name="shop")])
    assert allowed(compiler.compiled(), "10.0.0.2") == NOTHING


def test_blocks_match_pods_too_and_add_up(compiler):
    """bug class 48"""
    wide = BlockPeer(block=ip_network("10.0.0.0/24"), excepts=(ip_network("10.0.0.128/25"),))
    https = PortRange(protocol=Protocol.TCP, first=443, last=443)
    compiler.apply(
        [SetPolicy(policy=policy(ingress=(rule(peer("client")), rule(wide, ports=(https,)))))]
    )

    compiled = compiler.compiled()

    assert allowed(compiled, "10.0.0.2") == ONLY_HTTP | ports_of(Protocol.TCP, 443, 443)
    assert allowed(compiled, "10.0.0.77") == ports_of(Protocol.TCP, 443, 443)
    assert allowed(compiled, "10.0.0.200") == NOTHING
    assert [(n.family, n.first) for n in compiled.nets] == [
        (Family.V4, int(IPv4Address("10.0.0.0")))
    ]


def test_a_new_block_reaches_the_hosts_inside_and_no_other(compiler):
    compiler.apply([SetPod(pod=pod("far", "10.9.0.1"))])
    compiler.apply([clients_may()])
    more = policy("more", ingress=(rule(BlockPeer(block=ip_network("10.0.0.0/24")), ports=None),))

    change = compiler.apply([SetPolicy(policy=more)])

    assert set(change.hosts) == {CLIENT_AT}
    assert allowed(compiler.compiled(), "10.0.0.2") == EVERY_PORT
    assert allowed(compiler.compiled(), "10.9.0.1") == ONLY_HTTP

    assert set(compiler.apply([DropPolicy(key=more.key)]).hosts) == {CLIENT_AT}
    assert allowed(compiler.compiled(), "10.0.0.2") == ONLY_HTTP


def test_a_name_is_each_pods_own_number(compiler):
    web = PortName(name="web", protocol=Protocol.TCP)
    named = [
        pod(
            f"w{n}",
            f"10.0.0.{n}",
            "web",
            ports=(NamedPort(name="web", protocol=Protocol.TCP, port=n),),
        )
        for n in (81, 82)
    ]
    compiler.apply([SetPod(pod=one) for one in named])

    compiler.apply([SetPolicy(policy=policy(egress=(rule(ports=(web,)),)))])

    compiled = compiler.compiled()
    assert allowed(compiled, "10.0.0.81", "egress") == ports_of(Protocol.TCP, 81, 81)
    assert allowed(compiled, "10.0.0.82", "egress") == ports_of(Protocol.TCP, 82, 82)
    assert allowed(compiled, "192.0.2.1", "egress") == NOTHING


def test_what_runs_on_of_a_pod_that_has_the_nodes_network_now_has_no_names(compiler):
    web = NamedPort(name="web", protocol=Protocol.TCP, port=81)
    strange = pod("strange", "10.0.0.81", "web", ports=(web,))
    moved = replace(strange, addresses=(NODE_AT,), is_host_network=True)
    compiler.apply([SetPod(pod=moved), attach(strange)])

    compiler.apply([SetPolicy(policy=policy(egress=(rule(ports=(PortName(name="web"),)),)))])

    assert allowed(compiler.compiled(), "10.0.0.81", "egress") == NOTHING


def test_pods_with_other_numbers_for_a_name_have_ingress_rule_sets_of_their_own(compiler):
    web = PortName(name="web", protocol=Protocol.TCP)
    for number in (81, 82):
        ports = (NamedPort(name="web", protocol=Protocol.TCP, port=number),)
        one = pod(f"s{number}", f"10.0.0.{number}", "server", ports=ports)
        compiler.apply([SetPod(pod=one), attach(one)])

    compiler.apply([SetPolicy(policy=policy(ingress=(rule(ports=(web,)),)))])

    compiled = compiler.compiled()
    said = {
        key.name: compiled.rule_sets[sides.ingress].default for key, sides in compiled.sides.items()
    }
    assert said == {
        "server": NOTHING,
        "s81": ports_of(Protocol.TCP, 81, 81),
        "s82": ports_of(Protocol.TCP, 82, 82),
    }


def test_an_attached_pod_has_its_address_whatever_the_api_still_says(compiler):
    compiler.apply([clients_may()])
    fresh = Pod(key=PodKey(namespace="shop", name="fresh"), labels={"app": "other"}, node=HERE)

    compiler.apply([SetPod(pod=fresh), Attach(key=fresh.key, addresses=IPPair(v4=CLIENT_AT))])
    assert allowed(compiler.compiled(), "10.0.0.2") == NOTHING

    compiler.apply([Detach(key=fresh.key)])
    assert allowed(compiler.compiled(), "10.0.0.2") == ONLY_HTTP


def test_a_pod_that_is_attached_before_the_api_tells_of_it_is_shut_until_then(compiler):
    late = pod("late", "10.0.0.5", "server", node=HERE)
    compiler.apply([SetPolicy(policy=policy(ingress=()))])

    shut = compiler.apply([attach(late)]).sides[late.key]
    known = compiler.apply([SetPod(pod=late)]).sides[late.key]

    assert shut is not None
    assert shut.egress is not None
    assert known is not None
    assert known.egress is None


def test_what_is_no_pod_of_the_API_is_shut_but_for_the_own_node(compiler):
    """Deleted by force before a restart, it runs on, and nobody knows what policies say of it."""
    ghost = PodKey(namespace="shop", name="ghost")
    everything = above("all", rule(peer("client")), is_egress=False)

    compiler.apply([SetPolicy(policy=everything), Attach(key=ghost, addresses=IPPair(v4=GHOST_AT))])

    compiled = compiler.compiled()
    sides = compiled.sides[ghost]
    for number in (sides.ingress, sides.egress):
        assert number is not None
        of_node = compiled.hosts[NODE_AT]
        assert compiled.rule_sets[number].default == NOTHING
        assert compiled.rule_sets[number].verdicts == {of_node: EVERY_PORT}
    assert sides.own_node is None


def test_a_finished_pod_is_no_peer_and_its_address_is_free(compiler):
    compiler.apply([clients_may()])
    done = replace(pod("client", "10.0.0.2"), is_finished=True)

    compiler.apply([SetPod(pod=done), SetPod(pod=pod("other", "10.0.0.2", "other"))])

    assert allowed(compiler.compiled(), "10.0.0.2") == NOTHING


def test_cluster_policies_may_close_the_own_node_and_network_policies_may_not(compiler):
    nodes = NodePeer(nodes=EVERYTHING)
    compiler.apply([SetPolicy(policy=policy(egress=()))])
    assert compiler.compiled().sides[SERVER].own_node is None

    compiler.apply([SetPolicy(policy=above("nodes", rule(nodes, action=Action.DENY)))])

    compiled = compiler.compiled()
    assert allowed(compiled, "10.1.0.1", "own_node") == EVERY_PORT - ONLY_HTTP
    assert allowed(compiled, "10.1.0.1", "egress") == EVERY_PORT - ONLY_HTTP
    assert allowed(compiled, "192.0.2.1", "own_node") == EVERY_PORT
    assert allowed(compiled, "192.0.2.1", "egress") == NOTHING


def test_a_rule_that_nobody_can_read_is_closed_but_for_the_own_node(compiler):
    unknown = rule(UnknownPeer(field="domainNames"), action=Action.PASS)
    compiler.apply([SetPolicy(policy=above("odd", unknown, is_egress=False))])

    compiled = compiler.compiled()

    assert allowed(compiled, "10.0.0.2") == NOTHING
    assert allowed(compiled, "10.1.0.1") == EVERY_PORT


def test_pass_leaves_the_tier_and_baseline_counts_where_nobody_isolates(compiler):
    client = peer("client", EVERYTHING)
    compiler.apply(
        [
            SetPolicy(policy=above("a", rule(client, action=Action.PASS), is_egress=False)),
            SetPolicy(
                policy=above("b", rule(client, ports=None, action=Action.DENY), is_egress=False)
            ),
            SetPolicy(
                policy=above(
                    "c", rule(client, action=Action.DENY), tier=Tier.BASELINE, is_egress=False
                )
            ),
        ]
    )
    assert allowed(compiler.compiled(), "10.0.0.2") == NOTHING

    compiler.apply([clients_may(ports=None)])
    assert allowed(compiler.compiled(), "10.0.0.2") == ONLY_HTTP
