"""A lab in several zones: where nodes and their pods are, and what eni-config says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from terway.lab.cloud.cloud import Cloud
from terway.lab.world.ground import eth0_of, lay_ground, make_instance, node_spec
from terway.lab.world.plan import LabPlan, NodePool, eni_config, plan_from_json, plan_to_json
from terway.lab.world.zones import VSwitchPlan, ZonePlan
from terway.model.errors import UsageError

FAR = "cn-hangzhou-j"
PLAN = LabPlan(
    nodes=1,
    pools=(NodePool(name="far", nodes=1, instance_type="ecs.g7.2xlarge", zone_id=FAR),),
    zones=(
        ZonePlan(
            zone_id=FAR,
            node_cidr=IPv4Network("192.168.64.0/19"),
            pod_cidr=IPv4Network("192.168.96.0/19"),
        ),
    ),
    vswitches=(
        VSwitchPlan(name="databases", cidr=IPv4Network("192.168.128.0/24")),
        VSwitchPlan(name="far-databases", cidr=IPv4Network("192.168.129.0/24"), zone_id=FAR),
    ),
)


@pytest.fixture
def cloud():
    return Cloud(clock=lambda: 1_790_000_000.0)


def test_each_zone_has_its_vswitches_and_those_with_names_are_where_they_were_wanted(cloud):
    ground = lay_ground(cloud, PLAN)

    vswitches = cloud.world.state.vswitches
    zones = {
        name: [vswitches[one].zone_id for one in (zone.node_vswitch_id, zone.pod_vswitch_id)]
        for name, zone in ground.zones.items()
    }
    assert zones == {PLAN.zone_id: [PLAN.zone_id] * 2, FAR: [FAR] * 2}
    named = {name: vswitches[one] for name, one in ground.vswitch_ids.items()}
    assert {name: one.zone_id for name, one in named.items()} == {
        "databases": PLAN.zone_id,
        "far-databases": FAR,
    }
    assert len({one.ipv6_cidr for one in vswitches.values()}) == len(vswitches) == 6


def test_a_node_is_in_the_zone_of_its_pool_and_says_so(cloud):
    ground = lay_ground(cloud, PLAN)
    instance = make_instance(cloud, PLAN, ground, "far-1")

    spec = node_spec(
        cloud, PLAN, ground, instance, name="far-1", kubeconfig="", agent_kubeconfig="", log_dir=""
    )

    assert spec.zone_id == FAR
    assert instance.ipv4 in PLAN.zones[0].node_cidr
    addresses, gateways = eth0_of(cloud, instance)
    assert addresses[0] == f"{instance.ipv4}/19"
    assert gateways[0] == str(PLAN.zones[0].node_cidr[-3])


def test_eni_config_names_the_pod_vswitches_of_every_zone():
    data = eni_config(
        PLAN, vswitch_ids=("vsw-1",), security_group_id="sg-1", of_zones={FAR: ("vsw-2",)}
    )

    assert json.loads(data["eni_conf"])["vswitches"] == {PLAN.zone_id: ["vsw-1"], FAR: ["vsw-2"]}


def test_a_pool_in_a_zone_that_is_not_there_is_refused_by_name(cloud):
    with pytest.raises(UsageError) as caught:
        lay_ground(cloud, replace(PLAN, zones=()))

    assert "pool far: zone cn-hangzhou-j is none of cn-hangzhou-i" in str(caught.value)


def test_zones_survive_the_way_to_the_process_that_runs_the_lab():
    assert plan_from_json(plan_to_json(PLAN)) == PLAN
