"""A node's policies in a whole lab: without API server, switched off, told to who asks."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from terway.kube.policy_status import POLICY_NODE_STATUSES
from terway.kube.resource import CONFIG_MAPS, EVENTS, NODES
from terway.lab.world.lab import open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.plan import KUBE_API
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from tests.support.policy_lab import Crew, PolicyLab, open_crew
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.wires import Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

FIRST, SECOND = 7500, 7501


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[PolicyLab]:
    async with open_lab(name=f"n{uuid.uuid4().hex[:8]}", nodes=2) as lab:
        yield PolicyLab(lab)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew(world: PolicyLab) -> Crew:
    return (await open_crew(world.lab, "node")).of(Family.V4)


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as wires:
        yield wires


def into_server(crew: Crew, port: int) -> Object:
    rule = peers("from", ("UDP", port), pods=crew.labels("client"))
    return network_policy("server", selects=crew.labels("server"), ingress=[rule])


@asynccontextmanager
async def without_api(node: NodeHandle) -> AsyncIterator[None]:
    """Have the node reach no API server for the block."""
    await node.exec("ip", "route", "add", "blackhole", str(KUBE_API))
    try:
        yield
    finally:
        await node.exec("ip", "route", "del", "blackhole", str(KUBE_API))


async def test_a_terwayd_that_starts_without_API_server_leaves_in_force_what_was(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 46: nothing opens and nothing shuts; 45: nor does it when the API comes back."""
    await world.policies(into_server(crew, FIRST))
    node = world.lab.node("node-2")

    async with without_api(node):
        await node.kill_agent()
        await world.write(into_server(crew, SECOND))
        assert await wires.passes(crew.client, crew.server, FIRST)
        assert not await wires.passes(crew.client, crew.server, SECOND)

    await world.in_force()
    assert not await wires.passes(crew.client, crew.server, FIRST)
    assert await wires.passes(crew.client, crew.server, SECOND)


async def policy_status(node: NodeHandle) -> tuple[int, dict]:
    words = node.words((sys.executable, "-m", "terway.cli", "policy", "status", "--json"))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert output, errors.decode()
    return process.returncode or 0, json.loads(output)


async def test_who_asks_is_told_on_which_nodes_a_policy_is_in_force(world: PolicyLab, crew: Crew):
    everybody = network_policy("everybody", selects={}, ingress=[{}])
    await world.policies(into_server(crew, FIRST), everybody)

    async with asyncio.timeout(PATIENCE_S):
        code, found = await policy_status(world.lab.node("node-1"))
        while code != 0:
            code, found = await policy_status(world.lab.node("node-1"))

    states = {one["policy"]: one for one in found["policies"]}
    assert states["NetworkPolicy default/server"]["in_force"] == ["node-2"]
    assert states["NetworkPolicy default/everybody"]["in_force"] == ["node-1", "node-2"]
    assert found["nodes"] == {}


async def test_policy_that_is_switched_off_is_taken_away_and_told(
    world: PolicyLab, crew: Crew, wires: Wires
):
    await world.policies(into_server(crew, FIRST))
    assert not await wires.passes(crew.client, crew.server, SECOND)
    lab, node = world.lab, world.lab.node("node-2")

    off = {"data": {"disable_network_policy": "true"}}
    await lab.kube.patch(CONFIG_MAPS, "eni-config", off, namespace="kube-system")
    async with asyncio.timeout(PATIENCE_S):
        while await node.exec("cat", "/etc/eni/disable_network_policy") != "true":
            await node.exec("true")
    assert not await wires.passes(crew.client, crew.server, SECOND)  # until it starts again
    await node.restart_agent()

    async with asyncio.timeout(PATIENCE_S):
        while not await wires.passes(crew.client, crew.server, SECOND):
            await node.exec("true")
        while await lab.kube.get(POLICY_NODE_STATUSES, "node-2") is not None:
            await node.exec("true")
        while "NetworkPolicyOff" not in {one.reason for one in (await lab.kube.list(EVENTS)).items}:
            await node.exec("true")
        while "NetworkPolicyInForce" in await _conditions(world, "node-2"):
            await node.exec("true")
    assert "terway_policy" not in await node.exec("nft", "list", "tables")
    assert "NetworkPolicyInForce" in await _conditions(world, "node-1")


async def _conditions(world: PolicyLab, name: str) -> set[str]:
    node = await world.lab.kube.get(NODES, name)
    assert node is not None
    return {condition.type for condition in node.status.conditions}
