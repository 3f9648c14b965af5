"""What pods with several interfaces, closed metadata or marked connections have in the kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from terway.datapath.facts import Symmetric
from terway.datapath.networks import with_own_table
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_node, unborn
from terway.datapath.symmetric import symmetric_tables
from terway.datapath.verify import describe
from terway.datapath.veth import desired_attachment
from terway.model.address import Family
from terway.model.interface import InterfaceSpec
from terway.model.network import NODE, NodeState, Remove, RoutingRule, Sysctl
from tests.support.attachments import ENI, NODE_FACTS, attachment, dual_stack

BESIDE = InterfaceSpec(
    parent="eth0",
    has_default_route=False,
    is_one_of_several=True,
    routes=(ip_network("10.0.0.0/8"), ip_network("fd97::/32")),
)


def second(**changes):
    one = attachment()
    return replace(one, key=replace(one.key, ifname="eth1"), spec=replace(BESIDE, **changes))


def desired(one, facts=NODE_FACTS):
    return desired_attachment(one, eni=ENI, node=facts)


def lines(objects):
    return {describe(one) for one in objects or () if not isinstance(one, Sysctl)}


def test_an_interface_beside_the_first_has_its_own_routes_and_no_default():
    routes = {line for line in lines(desired(second()).pod) if line.startswith("route")}

    assert routes == {
        "route 10.0.0.0/8 table 254: via 169.254.1.1 dev eth1 scope global onlink",
        "route fd97::/32 table 254: via fe80::1 dev eth1 scope global onlink",
    }


def test_the_first_interface_has_a_route_to_the_gateway_where_it_has_extra_routes():
    spec = InterfaceSpec(routes=(ip_network("10.0.0.0/8"),))

    routes = {
        line for line in lines(desired(replace(attachment(), spec=spec)).pod) if "254:" in line
    }

    assert routes == {
        "route 169.254.1.1/32 table 254: dev eth0 scope link",
        "route 10.0.0.0/8 table 254: via 169.254.1.1 dev eth0 scope global onlink",
        "route 0.0.0.0/0 table 254: via 169.254.1.1 dev eth0 scope global onlink",
        "route ::/0 table 254: via fe80::1 dev eth0 scope global onlink",
    }


def test_routes_of_a_family_that_the_pod_does_not_have_are_left_out():
    one = second()
    only = replace(one.lease, addresses=replace(dual_stack(1), v6=None))

    assert not [line for line in lines(desired(replace(one, lease=only)).pod) if "fd97" in line]


def test_its_own_table_is_numbered_after_its_link_in_both_families():
    one = second()

    state = with_own_table(desired(one), one, pod_ifindex=3)

    own = {line for line in lines(state.pod) if "1003" in line}
    v4, v6 = dual_stack(1)
    assert own == {
        "route 0.0.0.0/0 table 1003: via 169.254.1.1 dev eth1 scope global onlink",
        "route ::/0 table 1003: via fe80::1 dev eth1 scope global onlink",
        "rule 512 from all: lookup 1003",
        f"rule 512 from {v4}/32: lookup 1003",
        f"rule 512 from {v6}/128: lookup 1003",
    }
    rules = [one for one in state.pod or () if isinstance(one, RoutingRule)]
    by_link = [one for one in rules if one.oif == "eth1"]
    assert {one.family for one in by_link} == {Family.V4, Family.V6}


def test_rules_by_an_interface_of_another_number_go():
    one = second()
    before = with_own_table(desired(one), one, pod_ifindex=3)
    wanted = with_own_table(desired(one), one, pod_ifindex=5)

    plan = plan_attach(wanted, replace(before, is_paired=True))

    gone = {describe(op.object) for op in plan if isinstance(op, Remove)}
    assert gone == {"rule 512 from all: lookup 1003"}


def test_a_pod_without_metadata_is_refused_it_and_gets_it_back_when_it_may():
    closed = replace(attachment(), spec=InterfaceSpec(has_metadata=False))
    rule = "rule 1024 from 192.168.32.1/32 to 100.100.100.200/32: prohibit"
    assert rule in lines(desired(closed).node)

    opened = desired(attachment())
    plan = plan_attach(opened, replace(desired(closed)))

    assert [describe(op.object) for op in plan if isinstance(op, Remove)] == [rule]


def test_a_rule_that_closes_metadata_for_nobody_is_swept_away():
    closed = replace(attachment(), spec=InterfaceSpec(has_metadata=False))
    rules = tuple(one for one in desired(closed).node if isinstance(one, RoutingRule))

    plan = plan_node((), (), NodeState(links=(), objects=rules))

    assert {op.object for op in plan if isinstance(op, Remove)} == set(rules)


def test_ranges_of_the_host_stack_are_left_to_the_main_table():
    ranges = (ip_network("10.99.0.0/16"), ip_network("fd99::/16"))
    facts = replace(NODE_FACTS, host_stack_cidrs=ranges)

    shown = {line for line in lines(desired_node(facts)) if line.startswith("rule 1280")}

    assert shown == {
        "rule 1280 to 10.99.0.0/16: lookup 254",
        "rule 1280 to fd99::/16: lookup 254",
    }


def test_a_range_that_is_configured_no_more_is_swept_away():
    before = desired_node(replace(NODE_FACTS, host_stack_cidrs=(ip_network("10.99.0.0/16"),)))
    rule = next(one for one in before if isinstance(one, RoutingRule))

    plan = plan_node(
        desired_node(NODE_FACTS),
        (),
        NodeState(links=(), objects=(*desired_node(NODE_FACTS), rule)),
    )

    assert plan == (Remove(netns=NODE, object=rule),)


def test_marked_packets_leave_by_the_nodes_own_interface():
    facts = replace(NODE_FACTS, gateways=dual_stack(9), symmetric=Symmetric(mark=0x20, mask=0x30))

    shown = {line for line in lines(desired_node(facts)) if " 100" in line}
    rules = [one for one in desired_node(facts) if isinstance(one, RoutingRule)]
    tables = symmetric_tables(facts)

    v4, v6 = dual_stack(9)
    assert {line for line in shown if line.startswith("route")} == {
        f"route 0.0.0.0/0 table 100: via {v4} dev eth0 scope global onlink",
        f"route ::/0 table 100: via {v6} dev eth0 scope global onlink",
    }
    assert [(one.priority, one.table, one.fwmark, one.fwmask) for one in rules] == [
        (600, 100, 0x20, 0x30)
    ] * 2
    assert set(tables) == {"ip terway_symmetric", "ip6 terway_symmetric_ipv6"}
    assert "ct mark and 0xffffffcf or 0x20" in tables["ip terway_symmetric"]


def test_without_symmetric_routing_there_is_neither_rule_nor_table():
    assert not [one for one in desired_node(NODE_FACTS) if isinstance(one, RoutingRule)]
    assert symmetric_tables(NODE_FACTS) == {}
    left = replace(NODE_FACTS, gateways=dual_stack(9), symmetric=Symmetric())
    rules = tuple(one for one in desired_node(left) if isinstance(one, RoutingRule))

    plan = plan_node((), (), NodeState(links=(), objects=rules))

    assert {op.object for op in plan if isinstance(op, Remove)} == set(rules)


def test_a_new_interface_beside_the_first_is_planned_without_reading():
    state = desired(second())

    assert plan_attach(state, unborn(state))[0] == state.birth
