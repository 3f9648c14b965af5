"""Which lab does a figure need, and how does the benchmark get into its nodes?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.support.place import Place

from bench.group import say
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle

DEBUG_SOCKET = "/var/run/eni/eni_debug.socket"
LARGE = "ecs.g7.4xlarge"  # 8 ENIs of 30 addresses: 210 pods


@asynccontextmanager
async def lab(**plan: Any) -> AsyncIterator[Lab]:
    """Run a lab for the block, every node Ready on entry."""
    say(f"  lab: {', '.join(f'{k} {v}' for k, v in plan.items())}")
    async with open_lab(**plan) as opened:
        yield opened


def place_of(node: NodeHandle) -> Place:
    """Return the inside of a node: all its namespaces."""
    return Place(enter=tuple(node.words(())))


async def agent_page(node: NodeHandle, page: str) -> str:
    """Return a page of terwayd's read-only listener."""
    connector = aiohttp.UnixConnector(path=str(node.inside(DEBUG_SOCKET)))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://terwayd{page}") as answer,
    ):
        return await answer.text()


async def wait_free(node: NodeHandle, addresses: int) -> None:
    """Wait until the pool has that many free addresses: the last wave's have cooled."""
    async with asyncio.timeout(180):
        while (free := (await _pool(node))["free"]) < addresses:
            say(f"  {node.name}: {free} free addresses, waiting for {addresses}")
            await asyncio.sleep(2)


async def _pool(node: NodeHandle) -> dict[str, Any]:
    pool: dict[str, Any] = json.loads(await agent_page(node, "/debug/state"))["pool"]
    return pool


async def plugin_conf(node: NodeHandle, version: str) -> dict[str, Any]:
    """Return the first plugin's configuration as the node's runtime finds it, at `version`."""
    text = await place_of(node).run("cat", "/etc/cni/net.d/10-terway.conflist")
    conflist = json.loads(text)
    return {**conflist["plugins"][0], "name": conflist["name"], "cniVersion": version}
