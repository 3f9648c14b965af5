"""The networks that Terway is compared with carry real packets, and do what their names say."""

from __future__ import annotations

import json
import uuid

import pytest

from terway.lab import toolbox
from terway.lab.world.lab import open_lab
from terway.lab.world.plan import PodNetwork
from terway.model.address import IPStack

pytestmark = pytest.mark.lab

TOOL = ("python3", "-I", "-S", toolbox.TOOL)


@pytest.mark.parametrize("network", [PodNetwork.FLANNEL_VXLAN, PodNetwork.FLANNEL_VPC])
async def test_pods_of_two_nodes_reach_each_other_by_their_own_addresses(network):
    plan = {"network": network, "stack": IPStack.IPV4, "nodes": 2}
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", **plan) as lab:
        one = await lab.pod("one", node="node-1")
        two = await lab.pod("two", node="node-2")

        async with await one.connect(two) as flow:
            assert await flow.echo(b"through the block") == b"through the block"
        said = json.loads(await one.exec(*TOOL, "whoami", str(two.addresses.v4)))

        assert said["peer"] == str(one.addresses.v4)
        links = await lab.node("node-1").exec("ip", "-o", "link")
        assert ("flannel.1" in links) == (network is PodNetwork.FLANNEL_VXLAN)
        routes = [str(route.destination) for route in lab.cloud.vpc_state().routes]
        assert len(routes) == (2 if network is PodNetwork.FLANNEL_VPC else 0)
