"""A node that gets the eBPF data path, and does without it again, under pods that run."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from terway.agent.node_report import DATAPATH, EBPF
from terway.kube.resource import CONFIG_MAPS, NODES
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

POOL = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
SHARED, EXCLUSIVE = "node-1", "eni-1"
KEY = "10-terway.conf"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=1, pools=(POOL,)) as lab:
        yield lab


async def page(lab: Lab, node: str) -> dict[str, Any]:
    """Return what terwayd says of its data path; nothing while it does not answer."""
    try:
        socket = lab.node(node).inside("/var/run/eni/eni_debug.socket")
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return {}
    writer.write(b"GET /debug/datapath HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
    return found


async def switch(lab: Lab, kind: str) -> None:
    """Have both nodes' terwayds start anew with another data path; return when it is there."""
    found = await lab.kube.get(CONFIG_MAPS, "eni-config", namespace="kube-system")
    assert found is not None
    conf = {**json.loads(found.data[KEY]), "eniip_virtual_type": kind}
    data = {"data": {KEY: json.dumps(conf)}}
    await lab.kube.patch(CONFIG_MAPS, "eni-config", data, namespace="kube-system")
    for name in (SHARED, EXCLUSIVE):
        async with asyncio.timeout(PATIENCE_S):
            while (said := await page(lab, name)).get("asked") != kind:
                if said:  # it answers, and has read what was written before
                    await lab.node(name).restart_agent()
                await lab.node(name).exec("true")
            while not (await page(lab, name)).get("is_up") and kind != "veth":
                await lab.node(name).exec("true")


async def filters(at: Any, link: str) -> str:
    """Return what stands at a link of a node or pod."""
    hooks = ("ingress", "egress")
    return "".join([await at.exec("tc", "filter", "show", "dev", link, one) for one in hooks])


async def host_links(lab: Lab, name: str) -> list[str]:
    return [
        one for one in (await lab.node(name).exec("ls", "/sys/class/net")).split() if "cali" in one
    ]


async def gone(lab: Lab, pods: dict[str, PodHandle]) -> None:
    """Wait until no program of the data path is left, at links and inside pods."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            seen = [
                await filters(lab.node(name), link)
                for name in (SHARED, EXCLUSIVE)
                for link in await host_links(lab, name)
            ]
            seen.append(await filters(pods["own"], "eth0"))
            if not any("terway_from_pod" in one or "terway_out_of_pod" in one for one in seen):
                return


async def said_of(lab: Lab, name: str) -> str:
    node = await lab.kube.get(NODES, name)
    assert node is not None
    return node.metadata.annotations.get(DATAPATH, "")


async def noted(lab: Lab, wanted: str) -> None:
    """Wait until the Nodes say of their data path what the control plane is to go by."""
    async with asyncio.timeout(PATIENCE_S):
        for name in (SHARED, EXCLUSIVE):
            while await said_of(lab, name) != wanted:
                await lab.node(name).exec("true")


async def test_connections_and_policies_of_pods_go_on(lab: Lab) -> None:
    """Bug class 20."""
    places = {"a": SHARED, "b": SHARED, "own": EXCLUSIVE}
    pods = {name: await lab.pod(name, node=node) for name, node in places.items()}
    near = await pods["a"].connect(pods["b"])
    far = await pods["own"].connect(pods["a"])

    for kind in ("datapathv2", "veth", "datapathv2", "veth"):
        await switch(lab, kind)
        if kind == "veth":
            await gone(lab, pods)
        else:
            (link, *_) = await host_links(lab, SHARED)
            assert "terway_from_pod" in await filters(lab.node(SHARED), link)
            assert "terway_out_of_pod" in await filters(pods["own"], "eth0")
        await noted(lab, EBPF if kind != "veth" else "")
        for flow in (near, far):
            assert await flow.echo(kind.encode()) == kind.encode()
        new = await lab.pod("new", node=SHARED)
        assert await new.can_reach(pods["a"])
        assert await pods["own"].can_reach(new)
        await lab.delete_pod("new")
    for flow in (near, far):
        await flow.close()
