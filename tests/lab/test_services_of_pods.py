"""Pods reach services without kube-proxy, each by a program at its own link."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.pods import Flow, PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from tests.support import balanced_node

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

PORT, TARGET = 80, 8080
CLI = str(Path(sys.executable).with_name("terway-cli"))
SERVER = Path(balanced_node.__file__).read_text()  # a pod has a /tmp of its own
WEB = ("/usr/bin/env", "python3", "-I", "-S", "-c", SERVER, str(TARGET))
families = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(nodes=2, cni={"eniip_virtual_type": "datapathv2"}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    made = await asyncio.gather(
        lab.pod("web-1", node="node-1", command=WEB, labels={"app": "web"}),
        lab.pod("web-2", node="node-2", command=WEB, labels={"app": "web"}),
        lab.pod("alone", node="node-1", command=WEB, labels={"app": "alone"}),
        lab.pod("client", node="node-1"),
    )
    return {pod.name: pod for pod in made}


async def offer(lab: Lab, name: str, *, app: str, ready: int) -> dict[Family, IPAddress]:
    """Create a Service over the pods of an app; return its addresses."""
    spec = {
        "selector": {"app": app},
        "ports": [{"port": PORT, "targetPort": TARGET}],
        "ipFamilyPolicy": "RequireDualStack",
    }
    manifest = {"metadata": {"name": name}, "spec": spec}
    made = await lab.kube.create(SERVICES, manifest, namespace="default")
    await wait_endpoints(
        lab.kube, name, lambda held: sum(one["conditions"]["ready"] for one in held) == ready
    )
    addresses = [ip_address(one) for one in made["spec"]["clusterIPs"]]
    return {Family(one.version): one for one in addresses}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(lab: Lab, pods: dict[str, PodHandle]) -> dict[Family, IPAddress]:
    return await offer(lab, "web", app="web", ready=4)


async def who_answers(pod: PodHandle, address: IPAddress) -> tuple[str, str]:
    """Return the name of the server, and whom it sees."""
    flow = await connect_soon(pod, address)
    async with flow:
        who, _, seen = (await flow.line(b"?")).decode().partition(" ")
    return who, seen.strip()


async def connect_soon(pod: PodHandle, address: IPAddress) -> Flow:
    """Connect as soon as the node has heard of the service."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await pod.connect(address, port=PORT, timeout_s=1.0)
            except (OSError, TimeoutError):
                continue


@families
async def test_a_pod_reaches_every_endpoint_and_is_seen_as_itself(pods, web, family):
    answers = [await who_answers(pods["client"], web[family]) for _ in range(16)]

    assert {who for who, _ in answers} == {"web-1", "web-2"}
    assert {seen for _, seen in answers} == {str(pods["client"].address(family))}


@families
async def test_a_pod_reaches_itself_by_its_service(lab, pods, family):
    """Bug class 44."""
    name = f"alone-{family.value}"
    addresses = await offer(lab, name, app="alone", ready=2)

    who, seen = await who_answers(pods["alone"], addresses[family])

    assert (who, seen) == ("alone", str(addresses[family]))


async def test_a_connection_outlives_terwayd_and_new_ones_are_led_all_the_while(lab, pods, web):
    """Bug class 40."""
    async with await connect_soon(pods["client"], web[Family.V4]) as flow:
        before = await flow.line(b"?")
        restarting = asyncio.create_task(lab.node("node-1").restart_agent())
        while not restarting.done():
            async with await pods["client"].connect(web[Family.V4], port=PORT) as another:
                await another.line(b"?")
            assert await flow.line(b"?") == before
        await restarting
        assert await flow.line(b"?") == before


async def test_an_endpoint_that_goes_is_asked_no_more(lab, pods, web):
    """Bug class 39."""
    await lab.delete_pod("web-2")
    await wait_endpoints(lab.kube, "web", lambda held: len(held) == 2)
    async with asyncio.timeout(PATIENCE_S):
        while len((await services_of(lab.node("node-1")))["web"]["endpoints"]) != 2:
            pass  # each look is a process, and takes a while

    answers = [await who_answers(pods["client"], web[Family.V4]) for _ in range(8)]

    assert {who for who, _ in answers} == {"web-1"}


async def services_of(node: NodeHandle) -> dict[str, dict[str, Any]]:
    """Return what terwayd of a node says of services."""
    listed = json.loads(await node.exec(CLI, "services", "--json"))
    return {one["service"].removeprefix("default/"): one for one in listed["services"]}
