"""A planned network is made once, however often it is asked for and wherever it was interrupted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_network

import pytest

from terway.capacity.network_plan import (
    Demand,
    NetworkPlan,
    Options,
    PlannedVSwitch,
    Role,
)
from terway.cli.build import build
from terway.cloud.network import NetworkClient
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.inprocess import InProcessCaller
from terway.lab.cloud.transitions import Delays
from terway.model.address import IPStack
from terway.model.errors import TransientError, UsageError
from terway.model.ids import RegionId, ZoneId
from tests.support.cloud_world import REGION, make_world

ZONE = ZoneId("cn-hangzhou-i")
PLAN = NetworkPlan(
    vpc_cidr=IPv4Network("10.20.0.0/16"),
    vswitches=(
        PlannedVSwitch(
            name="nodes", zone_id=ZONE, cidr=IPv4Network("10.20.0.0/24"), role=Role.NODES
        ),
        PlannedVSwitch(
            name="pods", zone_id=ZONE, cidr=IPv4Network("10.20.32.0/19"), role=Role.PODS
        ),
    ),
    service_cidrs=(ip_network("172.21.0.0/20"),),
    demand=Demand(nodes=3, pods_per_node=30),
)
CREATE = {"CreateVpc", "CreateVSwitch", "CreateSecurityGroup", "AuthorizeSecurityGroup"}


class Account:
    """A cloud in which a network is made, and what was said while it was."""

    def __init__(self, **delays):
        self.world = make_world()
        self.world.cloud.world.delays = Delays(**delays)
        self.before = len(self.world.cloud.calls.all)
        self.said: list[str] = []
        self.client = NetworkClient(
            InProcessCaller(self.world.cloud),
            region_id=RegionId(REGION),
            ecs_endpoint="inprocess",
            vpc_endpoint="inprocess",
        )

    async def build(self, plan=PLAN):
        self.said.clear()
        return await build(plan, "prod", self.client, tell=self.said.append, sleep=self._sleep)

    async def _sleep(self, delay_s):
        self.world.pass_time(delay_s)

    def calls(self):
        made = list(self.world.cloud.calls.all)[self.before :]
        return [one.action for one in made if one.action in CREATE]

    def vpcs(self):
        return [vpc for vpc in self.world.cloud.world.state.vpcs.values() if vpc.name == "prod"]


async def test_all_is_made_and_a_second_run_has_nothing_to_do():
    account = Account(network_s=3.0)

    there = await account.build()

    assert there.vpc is not None
    assert [one.cidr for one in there.vswitches] == [one.cidr for one in PLAN.vswitches]
    assert all(one.is_available for one in there.vswitches)
    assert there.group is not None
    assert there.group.open_to == (PLAN.vpc_cidr,)
    assert account.calls() == [
        "CreateVpc",
        "CreateVSwitch",
        "CreateVSwitch",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroup",
    ]

    again = await account.build()

    assert again == there
    assert account.said == []
    assert len(account.calls()) == 5


@pytest.mark.parametrize("action", sorted(CREATE))
async def test_a_lost_answer_makes_nothing_twice(action):
    account = Account()
    account.world.cloud.faults.add(Fault(action=action, loses_reply=True))

    with pytest.raises(TransientError):
        await account.build()
    there = await account.build()

    assert len(account.vpcs()) == 1
    assert len(there.vswitches) == 2
    assert there.group is not None


async def test_dual_stack_has_ranges_of_both_families():
    account = Account()
    plan = replace(PLAN, options=Options(stack=IPStack.DUAL))

    there = await account.build(plan)

    assert there.vpc is not None
    assert there.vpc.ipv6_cidr is not None
    assert all(one.has_ipv6 for one in there.vswitches)
    assert there.group is not None
    assert set(there.group.open_to) == {PLAN.vpc_cidr, there.vpc.ipv6_cidr}


async def test_what_is_there_and_differs_is_refused_and_left_alone():
    account = Account()
    await account.build()
    before = len(account.calls())

    with pytest.raises(UsageError, match=r"CIDR 10\.20\.0\.0/16, and the plan wants 10\.0\.0\.0/8"):
        await account.build(replace(PLAN, vpc_cidr=IPv4Network("10.0.0.0/8")))

    assert len(account.calls()) == before


async def test_what_the_plan_grew_by_is_added():
    account = Account()
    await account.build()
    more = PlannedVSwitch(
        name="pods-2", zone_id=ZONE, cidr=IPv4Network("10.20.64.0/19"), role=Role.PODS
    )

    there = await account.build(replace(PLAN, vswitches=(*PLAN.vswitches, more)))

    assert [one.name for one in there.vswitches] == ["nodes", "pods", "pods-2"]
    assert account.said == ["create vSwitch pods-2, 10.20.64.0/19 in cn-hangzhou-i"]
