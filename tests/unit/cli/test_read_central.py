"""A node that may not ask the cloud still knows its ENIs, by the resources of the cluster."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest

from terway.cli.read_central import Resources, central_view, resource_members
from terway.cli.show import show_lines
from terway.cli.snapshot import InstanceView, JournalView, MetadataENIView, Snapshot
from terway.kube.crds import PodENI, PoolNode
from terway.model.eni import ENIType
from terway.model.errors import TransientError
from terway.model.ids import ENIId, InstanceId, MacAddress, VpcId, VSwitchId
from tests.support.podenis import HERE, TRUNK, allocation, podeni

PRIMARY, NODES = ENIId("eni-primary"), VSwitchId("vsw-nodes")


def address(ip: str, status: str = "Valid") -> dict[str, dict[str, str]]:
    return {ip: {"ip": ip, "status": status}}


POOL = msgspec.convert(
    {
        "metadata": {"name": "node-1"},
        "spec": {
            "nodeCap": {
                "adapters": 4,
                "totalAdapters": 10,
                "ipv4PerAdapter": 15,
                "ipv6PerAdapter": 15,
                "maxMemberAdapterLimit": 8,
            }
        },
        "status": {
            "networkInterfaces": {
                TRUNK.id: {
                    "id": TRUNK.id,
                    "status": "InUse",
                    "macAddress": TRUNK.mac,
                    "vSwitchID": NODES,  # pods and nodes may share one
                    "networkInterfaceType": "Trunk",
                    "primaryIPAddress": "192.168.32.1",
                    "ipv4": {**address("192.168.32.1"), **address("192.168.32.2", "Invalid")},
                }
            }
        },
    },
    PoolNode,
)
INSTANCE = InstanceView(
    instance_id=InstanceId(HERE),
    instance_type="ecs.g7.2xlarge",
    region_id="cn-hangzhou",
    zone_id="cn-hangzhou-i",
    vpc_id=VpcId("vpc-1"),
    vswitch_id=NODES,
    vpc_cidr="192.168.0.0/16",
    enis=tuple(
        MetadataENIView(
            id=eni_id,
            mac=MacAddress(f"00:16:3e:00:01:{number:02x}"),
            vswitch_id=NODES,
            cidr="192.168.0.0/19",
            addresses=(IPv4Address(f"192.168.0.{number}"),),
            gateways=(),
        )
        for number, eni_id in enumerate((TRUNK.id, PRIMARY), start=1)
    ),
)


def resources(*pod_enis: dict[str, object], pool: PoolNode | None = POOL) -> Resources:
    found = tuple(msgspec.convert(one, PodENI, strict=False) for one in pod_enis)
    return Resources(pool=pool, pod_enis=found)


def test_the_enis_of_the_pool_and_the_primary_one_are_there_with_what_the_cloud_has_of_them() -> (
    None
):
    view = central_view(resources(), INSTANCE)

    assert [(one.id, one.type) for one in view.enis] == [
        (PRIMARY, ENIType.PRIMARY),
        (TRUNK.id, ENIType.TRUNK),
    ]
    assert view.enis[1].ipv4 == (IPv4Address("192.168.32.1"),)
    assert view.limits is not None
    assert view.limits.eni_private_ip_address_quantity == 15


def test_members_of_pods_are_there_with_their_tags() -> None:
    infos = {"eni-31": {"id": "eni-31", "type": "Member", "vid": 7, "status": "Bind"}}
    view = central_view(resources(podeni(allocation(31), eniInfos=infos)), INSTANCE)

    member = view.enis[-1]
    assert (member.id, member.type, member.vlan_id) == ("eni-31", ENIType.MEMBER, 7)
    assert member.trunk_eni_id == TRUNK.id


@pytest.mark.parametrize("status", [{"phase": "Unbind"}, {"instanceID": "i-elsewhere"}])
def test_enis_of_pods_that_are_not_attached_here_are_not(status: dict[str, Any]) -> None:
    view = central_view(resources(podeni(**status)), INSTANCE)
    assert [one.id for one in view.enis] == [PRIMARY, TRUNK.id]


def test_what_the_resources_cannot_tell_is_said_to_be_unknown() -> None:
    refusals = central_view(resources(), INSTANCE).refusals
    assert [one.source for one in refusals] == ["groups", "routes"]


def test_a_node_that_the_control_plane_has_not_seen_has_no_view_of_the_cloud() -> None:
    with pytest.raises(TransientError, match="knows no such node"):
        central_view(resources(pool=None), INSTANCE)


def test_a_support_bundle_has_the_resources_of_the_node() -> None:
    files = dict(resource_members(resources(podeni())))
    assert json.loads(files["pool-node.json"])["metadata"]["name"] == "node-1"
    assert json.loads(files["podenis.json"])[0]["metadata"]["name"] == "web-0"


def test_what_the_control_plane_says_of_the_pool_is_shown_with_it() -> None:
    trouble = {
        "OperationErr": {"observedTime": "2026-11-23T10:00:00Z", "message": "the ENI is locked"}
    }
    raw = {
        "status": {
            "lastSyncOpenAPITime": "2026-11-23T10:01:00Z",
            "nextSyncOpenAPITime": "2026-11-23T10:11:00Z",
            "warmUpTarget": 20,
            "warmUpAllocatedCount": 12,
            "reason": "vsw-1 is empty",
            "networkInterfaces": {TRUNK.id: {"id": TRUNK.id, "conditions": trouble}},
        }
    }
    view = central_view(resources(pool=msgspec.convert(raw, PoolNode)), INSTANCE)

    here = Snapshot(
        taken_at="2026-11-23T10:05:00Z",
        node_name="node-1",
        version="1",
        journal=JournalView(),
        cloud=view,
    )

    lines = show_lines(here)

    (start,) = (number for number, line in enumerate(lines) if line.startswith("supply"))
    assert lines[start : start + 4] == [
        "supply     read of the cloud 2026-11-23T10:01:00Z, next 2026-11-23T10:11:00Z",
        "           warming up: 12 of 20 addresses",
        "           no more addresses: vsw-1 is empty",
        f"           {TRUNK.id} OperationErr since 2026-11-23T10:00:00Z: the ENI is locked",
    ]
    assert all(len(line) <= 80 for line in lines)
