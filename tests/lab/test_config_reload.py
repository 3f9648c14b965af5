"""A changed eni-config is followed by the terwayd that runs; a bad one is refused, and seen."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import CONFIG_MAPS, EVENTS, NODES
from terway.kube.types import ConfigMap, ObjectMeta
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

NODE = "node-1"
SYSTEM = "kube-system"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=1) as lab:
        yield lab


async def read_page(lab: Lab, path: str) -> str:
    socket = lab.node(NODE).inside("/var/run/eni/eni_debug.socket")
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2].decode()


async def state_when(lab: Lab, what: str, wanted: Any) -> dict[str, Any]:
    """Return terwayd's state when `what` of its configuration's state is `wanted`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            state: dict[str, Any] = json.loads(await read_page(lab, "/debug/state"))
            if state["config"][what] == wanted:
                return state
            await lab.node(NODE).exec("true")


async def change(lab: Lab, **keys: Any) -> None:
    found = await lab.kube.get(CONFIG_MAPS, "eni-config", namespace=SYSTEM)
    assert found is not None
    conf = {**json.loads(found.data["eni_conf"]), **keys}
    data = {"data": {"eni_conf": json.dumps(conf)}}
    await lab.kube.patch(CONFIG_MAPS, "eni-config", data, namespace=SYSTEM)


async def said(lab: Lab, reason: str, part: str) -> str:
    """Wait for an event about the node, and return its message."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for event in (await lab.kube.list(EVENTS)).items:
                if event.reason == reason and part in event.message:
                    assert event.involved_object.name == NODE
                    return event.message
            await lab.node(NODE).exec("true")


async def test_a_larger_pool_is_filled_without_a_restart(lab: Lab) -> None:
    before = json.loads(await read_page(lab, "/debug/state"))

    await change(lab, min_pool_size=7, max_pool_size=9)

    await state_when(lab, "applied", before["config"]["applied"] + 1)
    async with asyncio.timeout(PATIENCE_S):
        while json.loads(await read_page(lab, "/debug/state"))["pool"]["free"] < 7:
            await lab.node(NODE).exec("true")
    assert await said(lab, "ConfigCheck", "eni_conf.max_pool_size")


async def test_a_bad_configuration_is_refused_and_seen_and_the_node_serves_on(lab: Lab) -> None:
    await change(lab, max_pool_size=-1)

    assert "eni_conf.max_pool_size is -1" in await said(lab, "ConfigError", "max_pool_size is -1")
    state = json.loads(await read_page(lab, "/debug/state"))
    assert "max_pool_size is -1" in state["config"]["error"]
    assert "terway_config_valid 0" in await read_page(lab, "/metrics")
    pod = await lab.pod("still", node=NODE)
    await lab.delete_pod(pod.name)

    await change(lab, max_pool_size=9)
    await state_when(lab, "error", "")


async def test_what_needs_a_restart_is_told_and_waits(lab: Lab) -> None:
    await change(lab, enable_patch_pod_ips=False)

    await state_when(lab, "pending", ["eni_conf.enable_patch_pod_ips"])
    assert await said(lab, "ConfigCheck", "when terwayd starts again")

    await change(lab, enable_patch_pod_ips=True)
    await state_when(lab, "pending", [])


async def test_a_nodes_own_part_is_followed_when_its_label_comes(lab: Lab) -> None:
    before = json.loads(await read_page(lab, "/debug/state"))
    own = ConfigMap(
        metadata=ObjectMeta(name="small", namespace=SYSTEM),
        data={"eni_conf": '{"min_pool_size": 0, "max_pool_size": 0}'},
    )
    await lab.kube.create(CONFIG_MAPS, own)

    label = {"metadata": {"labels": {"terway-config": "small"}}}
    await lab.kube.patch(NODES, NODE, label)

    await state_when(lab, "applied", before["config"]["applied"] + 1)


async def test_two_keys_that_are_right_only_together_wait_together(lab: Lab) -> None:
    await change(lab, enable_ip_prefix=True, ipv4_prefix_count=2)

    keys = ["eni_conf.enable_ip_prefix", "eni_conf.ipv4_prefix_count"]
    state = await state_when(lab, "pending", keys)
    assert not state["config"]["error"]

    await change(lab, enable_ip_prefix=False, ipv4_prefix_count=0)
    await state_when(lab, "pending", [])


async def test_a_start_that_is_refused_is_told_until_it_succeeds(lab: Lab) -> None:
    node = lab.node(NODE)
    await change(lab, enable_ip_prefix=True, ipv4_prefix_count=1000)
    assert "goes on" in await said(lab, "ConfigError", "goes on: eni_conf.ipv4_prefix_count")
    await projected(lab, "1000")

    await node.restart_agent()

    assert "room for" in await said(lab, "ConfigError", "terwayd cannot start: eni_conf.ipv4")
    await last_error_when(lab, "eni_conf.ipv4_prefix_count is 1000")

    await change(lab, enable_ip_prefix=False, ipv4_prefix_count=0)
    await projected(lab, '"ipv4_prefix_count": 0')
    await node.restart_agent()
    await last_error_when(lab, "")


async def last_error_when(lab: Lab, beginning: str) -> None:
    """Wait until what terwayd left at its end begins so; empty: until it has left nothing."""
    path = "/var/run/eni/last_error"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            said = await lab.node(NODE).exec("sh", "-c", f"cat {path} 2>/dev/null || true")
            if said.startswith(beginning) if beginning else not said:
                return


async def projected(lab: Lab, part: str) -> None:
    """Wait until the node's file of eni-config has `part`: what terwayd begins with."""
    async with asyncio.timeout(PATIENCE_S):
        while part not in await lab.node(NODE).exec("cat", "/etc/eni/eni_conf"):
            pass
