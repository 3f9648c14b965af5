"""A plan that cannot be is refused with its field, its value and the reason."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.capacity.network_plan import (
    Demand,
    NetworkPlan,
    Options,
    PlannedVSwitch,
    Role,
)
from terway.capacity.planning import check_plan, outlooks
from terway.capacity.proposal import propose
from terway.model.address import IPStack
from terway.model.errors import UsageError
from terway.model.ids import ZoneId
from tests.unit.capacity.test_pods import limits

HERE, THERE = ZoneId("cn-hangzhou-i"), ZoneId("cn-hangzhou-j")


def vswitch(name, cidr, role, zone=HERE, **others):
    return PlannedVSwitch(name=name, zone_id=zone, cidr=IPv4Network(cidr), role=role, **others)


NODES = vswitch("nodes", "192.168.0.0/24", Role.NODES)
PODS = vswitch("pods", "192.168.32.0/19", Role.PODS)
# The documentation's own example: VPC 192.168.0.0/16, nodes and pods in it, services beside it.
GOOD = NetworkPlan(
    vpc_cidr=IPv4Network("192.168.0.0/16"),
    vswitches=(NODES, PODS),
    service_cidrs=(ip_network("172.21.0.0/20"),),
    demand=Demand(nodes=10, pods_per_node=30),
    limits=limits(4, 10, 10),
)


def objections(**changes):
    return [(one.field, one.reason) for one in check_plan(replace(GOOD, **changes))]


def test_the_documentations_example_has_nothing_against_it():
    assert objections() == []


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"vpc_cidr": IPv4Network("100.64.0.0/16")}, "vpc.cidr", "the cloud's own services"),
        ({"vpc_cidr": IPv4Network("192.0.0.0/7")}, "vpc.cidr", "between 8 and 28"),
        ({"vswitches": (NODES, vswitch("pods", "10.0.0.0/19", Role.PODS))}, "cidr", "must lie in"),
        ({"vswitches": (NODES, vswitch("pods", "192.168.0.0/19", Role.PODS))}, "cidr", "overlaps"),
        ({"service_cidrs": (ip_network("192.168.64.0/20"),)}, "service_cidr", "could not be reach"),
        ({"service_cidrs": (ip_network("100.100.0.0/20"),)}, "service_cidr", "cloud's own"),
        ({"service_cidrs": (ip_network("10.0.0.0/8"),)}, "service_cidr", "at most 2^20"),
        ({"service_cidrs": ()}, "service_cidr", "needs a range of IPv4"),
        ({"service_cidrs": (ip_network("172.17.0.0/20"),)}, "service_cidr", "Docker"),
        ({"vswitches": (NODES, replace(PODS, zone_id=THERE))}, "vswitches", "in its own zone"),
        ({"vswitches": (PODS,)}, "vswitches", "no vSwitch is for nodes"),
        ({"vswitches": (NODES, replace(PODS, cidr=IPv4Network("192.168.32.0/25")))}, "cidr", "/23"),
        ({"vswitches": (NODES, replace(PODS, used=8000))}, "cidr", "192.168.32.0/19"),
        ({"demand": Demand(nodes=10, pods_per_node=31)}, "pods_per_node", "holds 30"),
        (
            {"demand": Demand(nodes=10, pods_per_node=30), "limits": limits(2, 10)},
            "type",
            "than 11",
        ),
        ({"options": Options(is_exclusive=True)}, "nodes.type", "more than 6"),
        ({"options": Options(virtual_type="IPvlan", kernel=(4, 19))}, "kernel", "from 5.10 on"),
        ({"options": Options(virtual_type="IPvlan")}, "virtual_type", "capable kernel"),
        ({"options": Options(has_trunk=True)}, "options.trunk", "no trunk ENI"),
        ({"taken": (("office", IPv4Network("192.168.0.0/24")),)}, "vpc.cidr", "never be connected"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(changes, field, reason):
    found = [str(one) for one in check_plan(replace(GOOD, **changes)) if field in one.field]

    assert any(reason in text for text in found), found


def test_options_that_exclude_each_other_are_said_together():
    options = Options(is_exclusive=True, has_prefixes=True, has_trunk=True, virtual_type="ipvlan")

    fields = {field for field, _ in objections(options=options)}

    assert {"options.virtual_type", "options.prefix", "options.trunk"} <= fields


def test_dual_stack_needs_a_range_of_services_and_addresses_of_each_family():
    found = objections(options=Options(stack=IPStack.DUAL), limits=limits(4, 10, 0))

    assert ("service_cidr", "ip_stack dual needs a range of IPv6: add one") in found
    assert ("nodes.type", "the type has no IPv6 addresses") in found


def test_growth_says_when_the_addresses_run_out():
    demand = Demand(nodes=100, pods_per_node=30, nodes_per_month=20, free_per_node=0)
    plan = replace(GOOD, demand=demand)

    (nodes, pods) = outlooks(plan)

    assert (nodes.usable, nodes.needed) == (252, 100)
    assert pods.months == pytest.approx((8188 - 100 * 30) / (20 * 30))
    assert any("runs out of addresses in 7.6 months" in str(one) for one in check_plan(plan))


def test_a_vswitch_keeps_its_first_and_its_last_three_addresses():
    assert vswitch("x", "192.168.0.0/24", Role.PODS).usable == 252
    assert vswitch("x", "192.168.0.0/29", Role.PODS).usable == 4


@settings(max_examples=60)
@given(
    nodes=st.integers(1, 300),
    pods=st.integers(12, 200),
    zones=st.integers(1, 4),
    stack=st.sampled_from(IPStack),
    taken=st.lists(
        st.sampled_from(["192.168.0.0/16", "172.16.0.0/14", "10.0.0.0/10"]), unique=True
    ),
)
def test_what_is_proposed_has_nothing_final_against_it(nodes, pods, zones, stack, taken):
    plan = replace(
        GOOD,
        vswitches=(),
        demand=Demand(nodes=nodes, pods_per_node=pods),
        options=Options(stack=stack),
        limits=None,
        taken=tuple((cidr, IPv4Network(cidr)) for cidr in taken),
    )

    proposed = propose(plan, [ZoneId(f"z{number}") for number in range(zones)])

    assert [str(one) for one in check_plan(proposed)] == []


def test_a_proposal_needs_to_know_how_many_pods():
    with pytest.raises(UsageError, match="how many pods"):
        propose(replace(GOOD, demand=Demand(nodes=3), limits=None), [HERE])
