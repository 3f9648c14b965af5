"""A pod that waits at its gate is led past a zone without addresses, to one that has some."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Network

import pytest

from terway.kube.crds import POD_ENIS, POD_NETWORKINGS
from terway.kube.watch import WatchEvent
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.provision import create_security_group
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.waiting import PATIENCE_S
from terway.lab.world.zones import VSwitchPlan, ZonePlan
from terway.model.ids import ClientToken, VSwitchId

pytestmark = [pytest.mark.lab]

FAR = ZonePlan(
    zone_id="cn-hangzhou-j",
    node_cidr=IPv4Network("192.168.64.0/19"),
    pod_cidr=IPv4Network("192.168.96.0/19"),
)
POOL = NodePool(name="far", nodes=1, instance_type="ecs.g7.2xlarge", zone_id=FAR.zone_id)
SMALL = VSwitchPlan(name="small", cidr=IPv4Network("192.168.128.0/29"))


async def exhaust(lab: Lab, vswitch_id: VSwitchId) -> None:
    """Take every address of a vSwitch."""
    client = inprocess_ecs_client(lab.cloud)
    (vswitch,) = await client.describe_vswitches([vswitch_id])
    for _ in range(vswitch.available_ip_count):
        await client.create_eni(
            vswitch_id=vswitch_id,
            security_group_ids=[lab.ground.security_group_id],
            ipv4_count=1,
            token=ClientToken(uuid.uuid4().hex),
        )


async def make_networking(lab: Lab, vswitch_ids: list[VSwitchId], group: str) -> None:
    """Make a PodNetworking for pods of app web, and wait until it is Ready."""
    spec = {
        "vSwitchOptions": vswitch_ids,
        "securityGroupIDs": [group],
        "selector": {"podSelector": {"matchLabels": {"app": "web"}}},
    }
    body = {"metadata": {"name": "web"}, "spec": spec}
    made = await lab.kube.create(POD_NETWORKINGS.typed(dict), body)
    since = made["metadata"]["resourceVersion"]
    async for event in lab.kube.watch(POD_NETWORKINGS, since=since, timeout_s=int(PATIENCE_S)):
        if isinstance(event, WatchEvent) and event.object.status.status == "Ready":
            return


async def test_a_full_zone_holds_up_no_pod_that_can_be_elsewhere():
    async with open_lab(
        nodes=1,
        pools=(POOL,),
        zones=(FAR,),
        vswitches=(SMALL,),
        control_plane=True,
        control_plane_conf={"enableSchedulingGate": True},
        eni_conf={"enable_eni_trunking": True},
    ) as lab:
        small = lab.ground.vswitch_ids["small"]
        far = lab.ground.zones[FAR.zone_id].pod_vswitch_id
        own = create_security_group(lab.cloud, lab.ground.vpc_id, name="web")
        await exhaust(lab, small)
        await make_networking(lab, [small, far], own)

        pod = await lab.pod("web")

        found = await lab.kube.get(POD_ENIS, "web", namespace="default")
        assert found is not None
        (one,) = found.spec.allocations
        assert pod.node.name == "far-1"
        assert (one.eni.zone, one.eni.vswitch_id) == (FAR.zone_id, far)
        assert one.eni.security_group_ids == (own,)
        assert pod.addresses.v4 in FAR.pod_cidr
