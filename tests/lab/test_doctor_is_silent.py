"""doctor on nodes that nothing found with: whatever it says there, nobody believes elsewhere."""

from __future__ import annotations

import asyncio
import sys
import uuid

import pytest

from terway.lab.world.lab import open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool

pytestmark = pytest.mark.lab


async def doctor(node: NodeHandle, *keys: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *node.words(("env", *keys, sys.executable, "-m", "terway.cli", "doctor")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize("datapath", ["veth", "datapathv2"])
async def test_doctor_finds_nothing_on_a_healthy_node_of_either_mode(datapath):
    name, pool = f"t{uuid.uuid4().hex[:8]}", NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    cni = {"eniip_virtual_type": datapath}
    async with open_lab(name=name, nodes=1, pools=(pool,), cni=cni) as lab:
        await asyncio.gather(lab.pod("a", node="node-1"), lab.pod("b", node="eni-1"))
        assert lab.services is not None
        keys = (
            f"ALIBABA_CLOUD_ACCESS_KEY_ID={lab.services.access_key_id}",
            f"ALIBABA_CLOUD_ACCESS_KEY_SECRET={lab.services.access_key_secret}",
        )

        found = [await doctor(lab.node(name), *keys) for name in ("node-1", "eni-1")]

    assert found == [(0, "nothing found\n")] * 2


async def test_tables_that_mark_connections_are_missing_once_the_node_translates():
    chain = "add chain ip own prerouting { type nat hook prerouting priority -100; }"
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=1) as lab:
        node = lab.node("node-1")
        await node.exec("kill", "-STOP", str(node.agent_pid))
        await node.exec("nft", "add table ip own")
        await node.exec("nft", chain)

        code, text = await doctor(node)

        await node.exec("kill", "-CONT", str(node.agent_pid))
    assert code == 1
    assert "table ip terway_symmetric of nftables is missing" in text
