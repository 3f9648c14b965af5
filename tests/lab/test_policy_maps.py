"""Policies in the maps of a data path in eBPF, on a real node: compared, broken, told, mended."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.policy.inforce import SOCKET, wait_in_force
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.waiting import PATIENCE_S
from tests.lab.test_policy_cli import DB_FROM_WEB, answer_of, ask, failures

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

# What root may do by bpf(2): every pod of the node is free.
FREE_ALL = """
from terway.linux.ebpf.pins import Pins
pins = Pins()
sides = pins.open_maps(pins.layouts()[0])["policy_sides"]
keys = list(sides.keys())
assert keys
for key in keys:
    sides.delete(key)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"p{uuid.uuid4().hex[:8]}", nodes=1, cni={"eniip_virtual_type": "datapathv2"}
    ) as lab:
        await lab.kube.create(NETWORK_POLICIES, DB_FROM_WEB)
        for name in ("web", "db"):
            await lab.pod(name, node="node-1", labels={"app": name})
        sockets = {name: node.inside(SOCKET) for name, node in lab.nodes.items()}
        assert await wait_in_force(lab.kube, sockets) == ()
        yield lab


async def test_verify_compares_the_maps_and_finds_them_equal(lab):
    found = await ask(lab, "node-1", "policy", "verify", "--json")

    assert (found.code, failures(found)) == (0, {"the data path": []})


async def test_a_bundle_answers_what_the_node_would(lab, tmp_path):
    path = str(tmp_path / "node-1.tar.gz")
    await ask(lab, "node-1", "support-bundle", "--output", path)

    offline = (sys.executable, "-m", "terway.cli", "policy", "verify", "--bundle", path, "--json")
    found = await answer_of(*offline)

    assert (found.code, failures(found)) == (0, {"the data path": []})


async def test_no_table_of_nftables_is_left_beside_the_maps(lab):
    listed = await lab.node("node-1").exec("nft", "list", "tables")

    assert "terway_policy" not in listed


async def test_pods_that_somebody_frees_are_named_by_verify_told_and_judged_again(lab):
    """bug class 27"""
    node = lab.node("node-1")
    pid = str(node.agent_pid)
    await node.exec("kill", "-STOP", pid)
    try:
        await node.exec(sys.executable, "-c", FREE_ALL)
        found = await ask(lab, "node-1", "policy", "verify", "--json")
    finally:
        await node.exec("kill", "-CONT", pid)

    assert found.code == 1
    assert "ingress of default/db is free" in failures(found)["the data path"][0]
    async with asyncio.timeout(PATIENCE_S):
        while (await ask(lab, "node-1", "policy", "verify")).code:
            pass
        while "NetworkPolicyDiffers" not in (await ask(lab, "node-1", "events")).text:
            pass


async def test_a_new_terwayd_goes_on_with_the_maps_and_leaves_nothing_of_the_last(lab):
    """bug class 46"""
    node = lab.node("node-1")

    await node.restart_agent()

    sockets = {"node-1": node.inside(SOCKET)}
    assert await wait_in_force(lab.kube, sockets) == ()
    assert (await ask(lab, "node-1", "policy", "verify")).code == 0
