"""Somebody detaches an ENI by the API under a running pod: the pod is reached again by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from tests.support.iproute import ip_in

pytestmark = pytest.mark.lab


@pytest.fixture(params=["veth", "datapathv2"])
async def lab(request) -> AsyncIterator[Lab]:
    cni = {"eniip_virtual_type": request.param}
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=2, cni=cni) as lab:
        yield lab


async def table_of_eth1(node: NodeHandle) -> int | None:
    links = await ip_in(node, "link")
    return next((1000 + one["ifindex"] for one in links if one["ifname"] == "eth1"), None)


async def eni_tables(node: NodeHandle) -> set[int]:
    """Return the tables in the ENIs' range that have a route of either family."""
    said = [await ip_in(node, family, "route", "show", "table", "all") for family in ("-4", "-6")]
    names = {str(route.get("table", "")) for routes in said for route in routes}
    return {int(name) for name in names if name.isdigit() and int(name) > 1000}


async def test_a_pod_whose_eni_was_detached_is_reached_again(lab: Lab) -> None:
    near, far = await asyncio.gather(lab.pod("a", node="node-1"), lab.pod("b", node="node-2"))
    node = lab.node("node-1")
    before = await table_of_eth1(node)
    address = near.address(Family.V4)
    (eni,) = (one for one in lab.cloud.world.state.enis.values() if address in one.ipv4)
    client = inprocess_ecs_client(lab.cloud)

    await client.detach_eni(eni.id, lab.instances["node-1"].id)

    async with asyncio.timeout(PATIENCE_S):
        while (after := await table_of_eth1(node)) in (None, before):
            await node.exec("true")
        for family in Family:
            while not await far.can_reach(near, family=family, timeout_s=2.0):
                await node.exec("true")
        while await eni_tables(node) != {after}:
            await node.exec("true")
