"""A lab of two nodes, and what these tests look for in it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from tests.support.place import Place
from tests.witness.containerd import Containerd, open_containerd
from tests.witness.podman import Podman, open_podman
from tests.witness.rootfs import make_rootfs

NETWORK = "witness"
_PATIENCE_S = 30.0
_TRACES = {"cali", "512:", "2048:"}  # host links and their routes, rules to and from pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A lab, a root file system for containers, and a name that no other test has."""

    lab: Lab
    rootfs: Path
    name: str

    def place(self, node: str) -> Place:
        """Return the inside of a node."""
        return Place(enter=tuple(self.lab.node(node).words(())))

    async def configure(self, node: str, *chained: dict[str, Any]) -> dict[str, Any]:
        """Give the node's runtimes a network of ours, with `chained` plugins after it.

        Debian's runtimes know CNI up to 1.0.0, so terwayd's own file (1.1.0) is not for them.
        """
        place = self.place(node)
        conflist = json.loads(await place.run("cat", "/etc/cni/net.d/10-terway.conflist"))
        plugins = [conflist["plugins"][0], *chained]
        mine = {"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins}
        write = f"cat > /etc/cni/net.d/05-{NETWORK}.conflist"
        await place.run("sh", "-c", write, stdin=json.dumps(mine))
        return mine

    async def attachments(self, node: str) -> dict[str, dict[str, Any]]:
        """Return what the node's terwayd has journalled, by container id."""
        state = json.loads(await _debug_page(self.lab.node(node), "/debug/state"))
        return {one["key"]["container_id"]: one for one in state["attachments"]}

    async def addresses_of(self, node: str, container_id: str) -> tuple[str, str]:
        """Return the IPv4 and IPv6 address that were journalled for a container."""
        addresses = (await self.attachments(node))[container_id]["lease"]["addresses"]
        return addresses["v4"], addresses["v6"]

    async def wait_clean(self, node: str) -> None:
        """Wait until the node has neither a host link nor a rule nor a route of any pod.

        Links go some tens of milliseconds after DEL, together.
        """
        async with asyncio.timeout(_PATIENCE_S):
            while _TRACES & set((await self._network_words(node)).split()):
                pass  # looking takes long enough

    async def _network_words(self, node: str) -> str:
        look = "ip -o link; ip rule; ip -6 rule; ip route; ip -6 route"
        return await self.place(node).run("sh", "-c", f"({look}) | sed 's/cali.*/cali/'")


async def _debug_page(node: NodeHandle, page: str) -> str:
    connector = aiohttp.UnixConnector(path=str(node.inside("/var/run/eni/eni_debug.socket")))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://terwayd{page}") as answer,
    ):
        return await answer.text()


@asynccontextmanager
async def open_site(folder: Path, **plan: Any) -> AsyncIterator[Site]:
    """Run a lab of two nodes for the block."""
    rootfs = make_rootfs(folder / "rootfs")
    async with open_lab(nodes=2, **plan) as lab:
        site = Site(lab=lab, rootfs=rootfs, name=f"witness-{uuid.uuid4().hex[:8]}")
        for node in lab.nodes:
            await site.configure(node)
        yield site


@pytest.fixture
async def containerd(site: Site) -> AsyncIterator[Containerd]:
    """Run containerd on node-1."""
    async with open_containerd(site.place("node-1"), namespace=site.name, rootfs=site.rootfs) as it:
        yield it


@pytest.fixture
async def podman(site: Site) -> AsyncIterator[Podman]:
    """Give podman on node-1."""
    async with open_podman(site.place("node-1"), cgroup=site.name, rootfs=site.rootfs) as it:
        yield it


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Give a lab of two nodes."""
    async with open_site(tmp_path) as opened:
        yield opened
