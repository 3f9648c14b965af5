"""What is in force while nobody is there to change it? What was; and then what ought to be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from terway.lab.world.node import NodeHandle
from tests.support.policy_lab import Crew, PolicyLab
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.streams import lockstep, spray
from tests.support.wires import Wires, heard

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

FIRST, SECOND, BARRED = 7400, 7401, 7402


@asynccontextmanager
async def stopped(node: NodeHandle) -> AsyncIterator[None]:
    """Keep the node's terwayd from doing anything; then let another take its place."""
    await node.exec("kill", "-STOP", str(node.agent_pid))
    yield
    await node.kill_agent()


def into_server(crew: Crew, port: int) -> Object:
    rule = peers("from", ("UDP", port), pods=crew.labels("client"))
    return network_policy("server", selects=crew.labels("server"), ingress=[rule])


async def test_the_old_policies_hold_while_terwayd_is_away_and_the_new_ones_when_it_is_back(
    world: PolicyLab, crew: Crew, wires: Wires
):
    await world.policies(into_server(crew, FIRST))

    async with stopped(world.lab.node(f"{crew.pool}-2")):
        await world.write(into_server(crew, SECOND))
        assert await wires.passes(crew.client, crew.server, FIRST)
        assert not await wires.passes(crew.client, crew.server, SECOND)

    await world.in_force()
    assert not await wires.passes(crew.client, crew.server, FIRST)
    assert await wires.passes(crew.client, crew.server, SECOND)


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_a_restart_under_load_lets_nothing_through_and_loses_nothing(
    world: PolicyLab, crew: Crew, wires: Wires, how: str
):
    """Bug class 46."""
    server, client = await wires.udp(crew.server, FIRST), await wires.udp(crew.client)
    barred, sprayer = await wires.udp(crew.server, BARRED), await wires.udp(crew.client)
    await world.policies(into_server(crew, FIRST))
    node = world.lab.node(f"{crew.pool}-2")

    async with (
        lockstep(client, server, (crew.server.address, FIRST)) as flow,
        spray(sprayer, (crew.server.address, BARRED)),
    ):
        for _ in range(2):
            await (node.kill_agent() if how == "kill" else node.restart_agent())
            await world.in_force()
            await flow.advance()

    await wires.fence(crew.client, crew.server)
    assert heard(barred) == []
