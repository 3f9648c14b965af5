"""Load balancers with real packets: from nodes, pods and the rest of the world to node ports.

Who serves node ports on a node is not this test's business: a server of its own listens there, and
a data path in eBPF is told to leave services to others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from terway.kube.resource import PODS
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.outside import Outside, outside_host
from terway.lab.world.pods import Flow, PodHandle
from terway.lab.world.service_objects import (
    SERVICES,
    wait_endpoints,
    wait_load_balancer,
)
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import IPAddress, family_of
from tests.support import balanced_node
from tests.support.instances import socket_in

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

SERVER = Path(balanced_node.__file__).read_text()  # a pod has a /tmp of its own
FAR = {4: "203.0.113.7", 6: "2001:db8:ffff::7"}
PORT, NODE_PORT = 80, 30080
T = TypeVar("T")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["veth", "datapathv2"])
async def lab(request) -> AsyncIterator[Lab]:
    cni, conf = {"eniip_virtual_type": request.param}, {"kube_proxy_replacement": "off"}
    async with open_lab(nodes=2, probe_interval_s=0.2, cni=cni, eni_conf=conf) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(lab: Lab) -> list[PodHandle]:
    """A server at the node port of each node."""
    return await asyncio.gather(*(_serve(lab, f"s-{name}", name, NODE_PORT) for name in lab.nodes))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(lab: Lab) -> Outside:
    host = await outside_host(lab)
    for address in FAR.values():
        await host.add_address(address)
    return host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(lab: Lab, servers: object) -> dict[int, IPAddress]:
    """The addresses of a dual-stack load balancer, by IP version."""
    addresses = await balance(lab, "web", NODE_PORT, ipFamilyPolicy="RequireDualStack")
    return {one.version: one for one in addresses}


async def _serve(lab: Lab, name: str, node: str, *ports: int) -> PodHandle:
    words = ("/usr/bin/env", "python3", "-I", "-S", "-c", SERVER, *map(str, ports))
    return await lab.pod(name, node=node, command=words, host_network=True)


async def balance(lab: Lab, name: str, node_port: int, **spec: object) -> tuple[IPAddress, ...]:
    ports = [
        {"name": kind.lower(), "port": PORT, "protocol": kind, "nodePort": node_port}
        for kind in ("TCP", "UDP")
    ]
    held = {"type": "LoadBalancer", "ports": ports, **spec}
    await lab.kube.create(SERVICES, {"metadata": {"name": name}, "spec": held}, namespace="default")
    return await wait_load_balancer(lab.kube, name)


async def ask(flow: Flow) -> tuple[str, str]:
    """Return which node answers, and whom it sees."""
    async with flow:
        node, _, seen = (await flow.line(b"?")).decode().partition(" ")
    return node, seen.strip()


async def eventually(question: Callable[[], Awaitable[T]]) -> T:
    """Wait until a question that is asked again and again is answered with yes; return that."""
    async with asyncio.timeout(PATIENCE_S):
        while not (answer := await question()):  # each waits for an answer of its own
            pass
        return answer


FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


@FAMILIES
async def test_the_world_reaches_all_nodes_by_the_address_and_is_seen_as_itself(
    lab, web, outside, version
):
    answers = [
        await ask(await outside.connect(web[version], port=PORT, source=FAR[version]))
        for _ in range(16)
    ]

    assert {node for node, _ in answers} == set(lab.nodes)
    assert {seen for _, seen in answers} == {FAR[version]}


async def test_a_pod_reaches_another_node_by_the_address_with_its_own(lab):
    await _serve(lab, "far", "node-2", 30097, 30197)
    policy = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30197}
    addresses = await balance(lab, "far", 30097, ipFamilyPolicy="RequireDualStack", **policy)
    pod = await lab.pod("near", node="node-1")

    async def answer(vip: IPAddress) -> tuple[str, str] | None:
        try:
            return await ask(await pod.connect(vip, port=PORT, timeout_s=0.5))
        except (OSError, TimeoutError):  # nobody has asked the node for its health so far
            return None

    for vip in addresses:
        answered = await eventually(partial(answer, vip))
        assert answered == ("node-2", str(pod.address(family_of(vip))))


@FAMILIES
async def test_datagrams_are_answered_from_the_address_they_were_sent_to(web, outside, version):
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    loop = asyncio.get_running_loop()
    with socket_in(outside.netns_path, family, socket.SOCK_DGRAM) as sock:
        sock.connect((str(web[version]), PORT))  # hears nobody else

        async with asyncio.timeout(PATIENCE_S):
            await loop.sock_sendall(sock, b"?")
            first = await loop.sock_recv(sock, 100)
            await loop.sock_sendall(sock, b"?")

            assert await loop.sock_recv(sock, 100) == first


async def test_a_large_answer_comes_whole(web, outside):
    async with await outside.connect(web[4], port=PORT) as flow:
        first = await flow.line(b"?")
        lines = [await flow.line(b"x" * 50) for _ in range(200)]

    assert set(lines) == {first}


async def test_only_nodes_that_say_so_are_sent_to_with_a_local_policy(lab, outside):
    await _serve(lab, "local-1", "node-1", 30090, 30190)
    await _serve(lab, "local-2", "node-2", 30090)
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30190}
    (vip,) = await balance(lab, "local", 30090, **local)

    async def is_answered() -> bool:
        try:
            await ask(await outside.connect(vip, port=PORT, timeout_s=0.5))
        except (OSError, TimeoutError):
            return False
        return True

    await eventually(is_answered)
    answers = {(await ask(await outside.connect(vip, port=PORT)))[0] for _ in range(12)}
    assert answers == {"node-1"}

    await lab.delete_pod("local-1")
    await _serve(lab, "health-2", "node-2", 30091, 30190)

    async def is_moved() -> bool:
        try:
            flow = await outside.connect(vip, port=PORT, timeout_s=0.5)
            return (await ask(flow))[0] == "node-2"
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return False

    await eventually(is_moved)


async def test_an_address_goes_with_its_service(lab, outside):
    (vip,) = await balance(lab, "short", 30095)
    await outside.exec("ping", "-c", "1", "-w", "20", str(vip))

    await lab.kube.delete(SERVICES, "short", namespace="default")

    async def is_gone() -> bool:
        return "100% packet loss" in await outside.exec(
            "ping", "-c", "1", "-W", "0.2", str(vip), check=False
        )

    await eventually(is_gone)


async def test_a_port_without_a_node_port_is_not_forwarded(lab, outside):
    ports = [{"port": PORT}]
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": ports}
    manifest = {"metadata": {"name": "bare"}, "spec": spec}
    await lab.kube.create(SERVICES, manifest, namespace="default")
    (vip,) = await wait_load_balancer(lab.kube, "bare")
    await outside.exec("ping", "-c", "1", "-w", "20", str(vip))

    with pytest.raises(TimeoutError):
        await outside.connect(vip, port=PORT, timeout_s=0.5)


DRAINS = """
apiVersion: v1
kind: Service
metadata: {name: draining}
spec: {selector: {app: draining}, ports: [{port: 80, targetPort: 7000}]}
"""


async def test_a_pod_that_drains_stays_an_endpoint_that_serves_until_it_is_gone(lab):
    await lab.apply(DRAINS)
    until_told = ("sh", "-c", "until [ -e /tmp/enough ]; do sleep 0.1; done")
    pod = await lab.pod("draining", node="node-1", pre_stop=until_told)
    await wait_endpoints(
        lab.kube, "draining", lambda held: _conditions(held) == [(True, True, False)]
    )

    await lab.kube.delete(PODS, "draining", namespace="default")

    await wait_endpoints(
        lab.kube, "draining", lambda held: _conditions(held) == [(False, True, True)]
    )
    assert await pod.can_reach(pod)
    await pod.exec("touch", "/tmp/enough")
    await wait_endpoints(lab.kube, "draining", lambda held: not held)


def _conditions(endpoints: list[dict]) -> list[tuple[bool, bool, bool]]:
    held = (one["conditions"] for one in endpoints)
    return [(one["ready"], one["serving"], one["terminating"]) for one in held]
