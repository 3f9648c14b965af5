"""A node that changes its packet filter under running pods: what is forbidden never passes.

    tables of nftables ──► programs of the data path ──► tables of nftables

All the time one flow goes there and back that policies allow, and datagrams go that they forbid.
The first node of each pool is the one that changes; its pod, the client, is who is restricted.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from socket import socket

import pytest
import pytest_asyncio

from terway.lab.world.lab import open_lab
from tests.lab.test_datapath_switched import gone, switch
from tests.support.policy_lab import POOL, Crew, PolicyLab, open_crew
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.streams import Lockstep, lockstep, spray
from tests.support.wires import End, Wires, heard

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

ALLOWED, BARRED = 7450, 7451


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[PolicyLab]:
    async with open_lab(name=f"w{uuid.uuid4().hex[:8]}", nodes=2, pools=(POOL,)) as lab:
        yield PolicyLab(lab)


def policy_of(crew: Crew) -> Object:
    """Have the client talk with the server by one port, whoever begins."""
    ports, server = ("UDP", ALLOWED), crew.labels("server")
    return network_policy(
        f"client-{crew.pool}",
        selects=crew.labels("client"),
        egress=[peers("to", ports, pods=server)],
        ingress=[peers("from", ports, pods=server)],
    )


async def flows_of(
    crew: Crew, wires: Wires, stack: AsyncExitStack
) -> tuple[list[Lockstep], list[socket]]:
    """Begin what goes on all the time, by both directions: what must pass, and who must be deaf."""
    flows, deaf = [], []

    async def begin(source: End, target: End) -> None:
        asks, answers = await wires.udp(source), await wires.udp(target, ALLOWED)
        flow = lockstep(asks, answers, (target.address, ALLOWED), asks_again=True)
        flows.append(await stack.enter_async_context(flow))
        deaf.append(await wires.udp(target, BARRED))
        barred = spray(await wires.udp(source), (target.address, BARRED))
        await stack.enter_async_context(barred)

    await begin(crew.client, crew.server)
    await begin(crew.server, crew.client)
    return flows, deaf


async def test_what_is_forbidden_never_passes_and_what_is_allowed_goes_on(world: PolicyLab):
    """Bug class 46. An answer under way while the filters change is of nothing they know: lost."""
    crews = [await open_crew(world.lab, pool) for pool in ("node", "eni")]
    await world.policies(*map(policy_of, crews))
    own = {"own": crews[1].pods["client"]}

    async with AsyncExitStack() as stack:
        wires = stack.enter_context(Wires())
        begun = [await flows_of(crew, wires, stack) for crew in crews]
        for kind in ("datapathv2", "veth"):
            await switch(world.lab, kind)
            if kind == "veth":
                await gone(world.lab, own)
            for flows, deaf in begun:
                for flow in flows:
                    await flow.advance()
                assert [heard(one) for one in deaf] == [[], []], f"on the way to {kind}"
