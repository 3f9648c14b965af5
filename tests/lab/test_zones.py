"""A lab in two zones: each node's pods have addresses of their own zone, and all talk."""

from __future__ import annotations

import asyncio
import uuid
from ipaddress import IPv4Network

import pytest

from terway.kube.resource import NODES
from terway.lab.world.lab import open_lab
from terway.lab.world.plan import POD_CIDR, NodePool
from terway.lab.world.zones import ZonePlan
from terway.model.address import Family

pytestmark = [pytest.mark.lab]

FAR = ZonePlan(
    zone_id="cn-hangzhou-j",
    node_cidr=IPv4Network("192.168.64.0/19"),
    pod_cidr=IPv4Network("192.168.96.0/19"),
)
POOL = NodePool(name="far", nodes=1, instance_type="ecs.g7.2xlarge", zone_id=FAR.zone_id)


async def test_pods_have_addresses_of_the_zone_of_their_node_and_talk_across():
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=1, pools=(POOL,), zones=(FAR,)) as lab:
        near, far = await asyncio.gather(
            lab.pod("near", node="node-1"), lab.pod("far", node="far-1")
        )

        seen = await near.tool("whoami", str(far.address(Family.V4)))
        seen6 = await near.tool("whoami", str(far.address(Family.V6)))
        node = await lab.kube.get(NODES, "far-1")

    assert near.address(Family.V4) in POD_CIDR
    assert far.address(Family.V4) in FAR.pod_cidr
    assert seen["peer"] == str(near.address(Family.V4))
    assert seen6["peer"] == str(near.address(Family.V6))
    assert node is not None
    assert node.metadata.labels["topology.kubernetes.io/zone"] == FAR.zone_id
