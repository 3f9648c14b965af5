"""A node that cannot have the data path that it was asked for has policy routing, and says so."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import terway.bpf_objects
from terway.agent.ebpf.choice import CHANGED
from terway.kube.resource import EVENTS
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.waiting import PATIENCE_S
from tests.lab.test_cli import run
from tests.lab.test_datapath_switched import filters, host_links, page

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

NODE = "node-1"
OBJECT = Path(*terway.bpf_objects.__path__) / "datapath.bpf.o"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    cni = {"eniip_virtual_type": "datapathv2"}
    async with open_lab(name=f"r{uuid.uuid4().hex[:8]}", nodes=1, cni=cni) as lab:
        yield lab


async def until_up(lab: Lab, *, is_up: bool) -> str:
    """Wait until the node's data path is up, or is not; return what it lacks."""
    async with asyncio.timeout(PATIENCE_S):
        while (said := await page(lab, NODE)).get("is_up", not is_up) != is_up:
            await lab.node(NODE).exec("true")
    return str(said.get("lacks", ""))


async def told(lab: Lab) -> str:
    """Wait for the event at the Node, and return what it says."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for event in (await lab.kube.list(EVENTS)).items:
                if event.reason == CHANGED and event.involved_object.name == NODE:
                    return event.message
            await lab.node(NODE).exec("true")


async def without_programs(lab: Lab) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for link in await host_links(lab, NODE):
            while "terway_from_pod" in await filters(lab.node(NODE), link):
                await lab.node(NODE).exec("true")


async def test_pods_go_by_policy_routing_until_the_programs_can_be_loaded(lab: Lab) -> None:
    """Bug class 20."""
    a, b = await lab.pod("a", node=NODE), await lab.pod("b", node=NODE)
    flow = await a.connect(b)

    await lab.node(NODE).exec("mount", "--bind", "/dev/null", str(OBJECT))
    await lab.node(NODE).restart_agent()
    lacks = await until_up(lab, is_up=False)
    await without_programs(lab)

    assert lacks
    assert lacks in await told(lab)
    assert json.dumps(lacks) in json.dumps((await run(lab, "doctor", "--json")).value)
    assert await flow.echo(b"by the stack") == b"by the stack"
    new = await lab.pod("new", node=NODE)
    assert await new.can_reach(a)
    assert await b.can_reach(new)

    await lab.node(NODE).exec("umount", str(OBJECT))
    await lab.node(NODE).restart_agent()
    await until_up(lab, is_up=True)

    assert await flow.echo(b"by programs") == b"by programs"
    assert await b.can_reach(new)
    await flow.close()
