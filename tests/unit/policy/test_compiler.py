"""A compiler says what is different, touches nothing else, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from terway.model.selector import EVERYTHING
from terway.policy.changes import (
    Detach,
    DropPod,
    DropPolicy,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.policies import (
    BlockPeer,
    NodePeer,
    PortName,
)
from terway.policy.ports import EVERY_PORT, NOTHING
from tests.support.compiled_shop import (
    CLIENT_AT,
    HERE,
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


def test_without_policies_nothing_is_enforced(compiler):
    assert compiler.compiled() == Compiled()


def test_whom_a_rule_names_may_use_its_ports_and_the_own_node_all(compiler):
    compiler.apply([clients_may()])

    compiled = compiler.compiled()

    assert allowed(compiled, "10.0.0.2") == ONLY_HTTP
    assert allowed(compiled, "10.1.0.1") == EVERY_PORT
    assert allowed(compiled, "192.0.2.1") == NOTHING
    assert allowed(compiled, "192.0.2.1", "egress") == EVERY_PORT


def test_a_policy_that_selects_nobody_here_costs_nothing(compiler):
    elsewhere = replace(policy(ingress=(rule(peer("client")),)), pods=labelled("app", "other"))

    assert not compiler.apply([SetPolicy(policy=elsewhere)])


def test_one_more_pod_with_known_labels_is_one_more_entry(compiler):
    compiler.apply([clients_may()])
    of_client = compiler.compiled().hosts[CLIENT_AT]

    change = compiler.apply([SetPod(pod=pod("second", "10.0.0.3"))])

    assert change == Change(hosts={ip_address("10.0.0.3"): of_client})
    assert compiler.apply([DropPod(key=PodKey(namespace="shop", name="second"))]) == Change(
        hosts={ip_address("10.0.0.3"): None}
    )


def test_a_pod_that_nobody_selects_touches_nothing(compiler):
    compiler.apply([clients_may()])

    assert not compiler.apply([SetPod(pod=pod("other", "10.0.0.9", "other"))])


def test_a_second_pod_of_a_deployment_shares_its_rule_sets(compiler):
    compiler.apply([clients_may()])
    sides = compiler.compiled().sides[SERVER]
    second = pod("server-2", "10.0.0.4", "server", node=HERE)

    change = compiler.apply([SetPod(pod=second), attach(second)])

    assert change == Change(sides={second.key: sides})


def test_what_pods_share_stays_until_the_last_of_them_is_gone(compiler):
    """bug class 47: rule sets and classes are counted by use"""
    compiler.apply([clients_may()])
    second = pod("server-2", "10.0.0.4", "server", node=HERE)
    compiler.apply([SetPod(pod=second), attach(second)])

    assert compiler.apply([Detach(key=SERVER)]) == Change(sides={SERVER: None})
    compiler.apply([Detach(key=second.key)])

    assert compiler.compiled() == Compiled()


def test_a_policy_that_says_something_else_has_another_rule_set(compiler):
    compiler.apply([clients_may()])
    (before,) = compiler.compiled().rule_sets

    change = compiler.apply([clients_may(ports=None)])

    assert change.rule_sets[before] is None
    assert before not in compiler.compiled().rule_sets
    assert allowed(compiler.compiled(), "10.0.0.2") == EVERY_PORT
    assert not change.hosts, "the same addresses are alike"


def test_a_policy_that_says_the_same_under_a_new_generation_changes_nothing(compiler):
    first = policy(ingress=(rule(peer("client")),))
    compiler.apply([SetPolicy(policy=first)])

    assert not compiler.apply([SetPolicy(policy=replace(first, generation=7))])


def test_everybodys_view_holds_all_pods():
    compiler = Compiler(None, everybody=True)
    pods = [pod("server", "10.0.0.1", "server"), pod("server-2", "10.0.0.4", "server")]
    compiler.apply([*(SetPod(pod=one) for one in pods), SetPolicy(policy=policy(ingress=()))])

    assert set(compiler.compiled().sides) == {one.key for one in pods}


def test_what_goes_leaves_nothing_behind(compiler):
    wanted = policy(
        ingress=(rule(peer("client")), rule(BlockPeer(block=ip_network("10.0.0.0/8")))),
        egress=(rule(ports=(PortName(name="web"),)),),
    )
    compiler.apply(
        [SetPolicy(policy=wanted), SetPolicy(policy=above("n", rule(NodePeer(nodes=EVERYTHING))))]
    )
    assert compiler.compiled() != Compiled()

    compiler.apply([DropPolicy(key=wanted.key), DropPolicy(key=above("n").key)])

    assert compiler.compiled() == Compiled()
