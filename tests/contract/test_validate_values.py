"""Values are held against the cloud and the cluster before anything is changed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from terway.cli.chart.render import find_chart
from terway.cli.place import Place, place_of
from terway.cli.validate_values import check_installation
from terway.cloud import permissions
from terway.config.findings import Report
from terway.lab.cloud import provision
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.kubeapi.resources import NODE
from terway.model.ids import ZoneId
from tests.support.cloud_world import ZONE, CloudWorld, make_world, serving
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server

TYPE = "ecs.g7.xlarge"
LARGE = "ecs.g7.8xlarge"  # enough ENIs for a pod each


class Installation:
    """A values file that is right, the world it is for, and a way to ask."""

    def __init__(self, world: CloudWorld, place: Place, folder: Path, key: Any) -> None:
        self.world = world
        self._place = place
        self._folder = folder
        self._environ = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
        self.values: dict[str, Any] = {
            "regionID": "cn-hangzhou",
            "clusterID": "c",
            "vpcID": world.vpc_id,
            "vSwitches": {ZONE: [world.pod_vswitch]},
            "securityGroupIDs": [world.group],
            "serviceCIDR": "172.21.0.0/20",
        }

    async def check(
        self, *settings: str, types: tuple[str, ...] = (TYPE,), **values: Any
    ) -> Report:
        path = self._folder / "values.yaml"
        path.write_text(yaml.safe_dump({**self.values, **values}))
        report, self.unasked = await check_installation(
            [path], settings, types, chart=find_chart(), place=self._place, environ=self._environ
        )
        return report


@asynccontextmanager
async def installation(
    folder: Path, *, nodes: tuple[dict[str, Any], ...] = (), allow: tuple[str, ...] = ("*",)
) -> AsyncIterator[Installation]:
    world = make_world()
    world.clock.now = time.time()  # signatures are of today
    key = world.cloud.world.keyring.create_key("somebody", allow=allow)
    state = make_cluster()
    for one in nodes:
        state.create(NODE, one)
    async with (
        open_kube_server(state, folder) as kube,
        serving(create_openapi_app(world.cloud)) as url,
    ):
        place = replace(
            place_of({}, root=folder),
            kubeconfig=kube.kubeconfig,
            ecs_endpoint=url,
            vpc_endpoint=url,
        )
        yield Installation(world, place, folder, key)


def node(
    name: str = "node-1",
    *,
    zone: str = ZONE,
    type_: str = TYPE,
    kernel: str = "6.1.0-1",
    **labels: str,
) -> dict[str, Any]:
    said = {
        "node.kubernetes.io/instance-type": type_,
        "topology.kubernetes.io/zone": zone,
        **labels,
    }
    return {
        "metadata": {"name": name, "labels": {name: one for name, one in said.items() if one}},
        "status": {"nodeInfo": {"kernelVersion": kernel}},
    }


def refused(report: Report) -> list[str]:
    return [str(one) for one in report.refusals]


async def test_what_is_right_is_right_for_cloud_and_cluster(tmp_path):
    async with installation(tmp_path, nodes=(node(),)) as it:
        report = await it.check()

        assert (refused(report), report.cautions, it.unasked) == ([], [], ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vpcID": "vpc-other"}, 'values.vpcID is "vpc-other": is no VPC that these keys see'),
        ({"securityGroupIDs": ["sg-other"]}, "is no security group of vpc-"),
        ({"vSwitches": {ZONE: ["vsw-other"]}}, f'values.vSwitches.{ZONE} is "vsw-other": is no'),
        ({"serviceCIDR": "192.168.64.0/20"}, "overlaps vpc.cidr, 192.168.0.0/16"),
        ({"serviceCIDR": "172.21.0.0"}, "must be a range"),
        (
            {"serviceCIDR": "172.21.0.0/20", "ipStack": "dual"},
            "ip_stack dual needs a range of IPv6",
        ),
        ({"pool": {"minSize": 6}}, "values.pool.minSize is 6: must be at most maxSize, 5"),
        ({"eniConf": {"min_eni": 3, "max_eni": 2}}, "eni_conf.min_eni is 3"),
        ({"cniConf": {"mtu": 100}}, "values.cniConf.mtu is 100"),
        ({"centralizedIPAM": True, "controlPlane": {"enabled": False}}, "needs the control plane"),
    ],
)
async def test_each_mistake_is_refused_with_value_and_remedy(change, said, tmp_path):
    async with installation(tmp_path, nodes=(node(),)) as it:
        report = await it.check(**change)

        assert any(said in one for one in refused(report)), refused(report)


async def test_a_vswitch_is_in_the_zone_that_it_is_written_below(tmp_path):
    async with installation(tmp_path) as it:
        report = await it.check(vSwitches={"cn-hangzhou-h": [it.world.pod_vswitch]})

        assert f"is in {ZONE}: write it below that zone" in refused(report)[0]


async def test_every_zone_with_nodes_has_a_vswitch(tmp_path):
    nodes = (node(), node("node-2", zone="cn-hangzhou-k"))
    async with installation(tmp_path, nodes=nodes) as it:
        report = await it.check()

        assert refused(report) == [
            'values.vSwitches is "cn-hangzhou-k": has nodes (node-2) and no vSwitch: add one there'
        ]


async def test_ipv6_is_in_the_vpc_and_in_every_vswitch(tmp_path):
    async with installation(tmp_path, nodes=(node(),)) as it:
        dual: dict[str, Any] = {"ipStack": "dual", "serviceCIDR": "172.21.0.0/20,fd00:21::/112"}
        assert refused(await it.check(**dual)) == []

        world = it.world
        bare = provision.create_vswitch(
            world.cloud, world.vpc_id, IPv4Network("192.168.64.0/19"), zone_id=ZoneId(ZONE)
        )
        world.pass_time(60)
        report = await it.check(**dual, vSwitches={ZONE: [bare]})

        assert "has no IPv6 range, which ipStack dual needs" in refused(report)[0]


@pytest.mark.parametrize(
    ("mode", "type_", "said"),
    [
        ("exclusive", "ecs.g7.large", "it must be more than 6; take a larger type"),
        ("shared", "ecs.t6-c1m1.large", "it must be more than 11; take a larger type"),
    ],
)
async def test_a_node_holds_enough_pods_for_its_mode(mode, type_, said, tmp_path):
    async with installation(tmp_path) as it:
        report = await it.check(types=(type_,), mode=mode, trunk=False)

        assert said in refused(report)[0]


async def test_no_type_is_judged_of_which_nobody_spoke(tmp_path):
    async with installation(tmp_path) as it:
        for mode in ("shared", "exclusive"):
            report = await it.check(types=(), mode=mode, trunk=False)

            assert (refused(report), report.cautions) == ([], [])
            assert [one.split(":")[0] for one in it.unasked] == [
                "types of nodes, how many pods they hold, whether they have trunk ENIs"
            ]


async def test_types_of_the_clusters_nodes_are_judged_without_being_named(tmp_path):
    async with installation(tmp_path, nodes=(node(type_="ecs.t6-c1m1.large"),)) as it:
        report = await it.check(types=(), trunk=False)

        assert [one.split(":")[0] for one in refused(report)] == [
            'nodes.instance-type is "ecs.t6-c1m1.large"'
        ]
        assert it.unasked == ()


async def test_a_data_path_in_ebpf_has_the_kernel_that_it_needs(tmp_path):
    nodes = (node(kernel="4.19.91-27.al7"),)
    async with installation(tmp_path, nodes=nodes) as it:
        report = await it.check("datapath=datapathv2")

        assert "these have none: node-1 (4.19.91-27.al7)" in refused(report)[0]


async def test_what_may_be_regretted_is_said_and_not_refused(tmp_path):
    nodes = (node(type_=LARGE), node("node-2", zone="", type_=LARGE))
    allow = tuple(one for one in permissions.CONTROL_PLANE if "Delete" not in one)
    people = (
        "vpc:DescribeVpcs",
        "ecs:DescribeSecurityGroups",
        "ecs:DescribeSecurityGroupAttribute",
    )
    async with installation(tmp_path, nodes=nodes, allow=(*allow, *people)) as it:
        report = await it.check("mode=exclusive", "pool.maxSize=9000", types=())

        said = [one.field for one in report.cautions]
        assert refused(report) == []
        assert said == [
            "values.trunk",
            "permissions.DeleteNetworkInterface",
            "nodes",
            "values.mode",
            f"values.vSwitches.{ZONE}",
        ]


async def test_policies_are_enforced_in_exclusive_mode_too(tmp_path):
    """Upstream documents them for shared ENIs only; here exclusive ENIs are filtered, too."""
    label = {"k8s.aliyun.com/exclusive-mode-eni-type": "eniOnly"}
    async with installation(tmp_path, nodes=(node(type_=LARGE, **label),)) as it:
        report = await it.check(mode="exclusive", trunk=False, types=())

        assert (refused(report), report.cautions) == ([], [])
