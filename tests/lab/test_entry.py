"""Services from outside and from the node itself, on whole nodes: no kube-proxy anywhere."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.outside import Outside, outside_host
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import Flow, PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints, wait_load_balancer
from terway.model.address import IPAddress
from tests.support import balanced_node

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

SERVER = Path(balanced_node.__file__).read_text()  # a pod has a /tmp of its own
WORLD = {4: "203.0.113.7", 6: "2001:db8:ffff::7"}
PORT, TARGET, NODE_PORT, HOST_PORT = 80, 8080, 30080, 8888
_PATIENCE_S = 300.0  # of a guest with one CPU and without JIT
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as sock:
    sock.sendall(b"?")
    print(sock.recv(100).decode().strip(), *sock.getpeername()[:2])
"""

_HERE = ("datapathv2", "exclusive")
# A guest takes minutes for what these ask: there only what differs for pods with programs inside.
kinds = pytest.mark.parametrize("lab", _HERE, indirect=True, scope="module")
all_kinds = pytest.mark.parametrize(
    "lab",
    [*_HERE, pytest.param("ipvlan", marks=pytest.mark.guest)],
    indirect=True,
    scope="module",
)
versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """Two nodes: their pods have veths, an ENI each, or are children of ENIs."""
    pool = NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS)
    has_own = request.param == "exclusive"
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=0 if has_own else 2,
        pools=(pool,) if has_own else (),
        cni={"eniip_virtual_type": "datapathv2" if has_own else request.param},
        probe_interval_s=0.2,
        ready=False,
    ) as running:
        await running.wait_ready(timeout_s=_PATIENCE_S)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(lab: Lab) -> tuple[str, str]:
    """The names of the two nodes."""
    first, second = sorted(lab.nodes)
    return first, second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(lab: Lab) -> Outside:
    host = await outside_host(lab)
    for address in WORLD.values():
        await host.add_address(address)
    return host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab, places: tuple[str, str]) -> dict[str, PodHandle]:
    """A server on each node; that of the first has a hostPort."""
    words = ("/usr/bin/env", "python3", "-I", "-S", "-c", SERVER, str(TARGET))
    web: dict[str, Any] = {"command": words, "labels": {"app": "web"}, "timeout_s": _PATIENCE_S}
    mapped = ({"containerPort": TARGET, "hostPort": HOST_PORT},)
    made = await asyncio.gather(
        lab.pod("web-1", node=places[0], ports=mapped, **web),
        lab.pod("web-2", node=places[1], **web),
    )
    return {pod.name: pod for pod in made}


async def offer(lab: Lab, name: str, node_port: int, **spec: object) -> dict[str, dict[int, str]]:
    """Create a Service over both servers; return its addresses, by kind and version."""
    ports = [{"name": "tcp", "port": PORT, "targetPort": TARGET, "nodePort": node_port}]
    held = {
        "type": "LoadBalancer",
        "selector": {"app": "web"},
        "ports": ports,
        "ipFamilyPolicy": "RequireDualStack",
        **spec,
    }
    made = {"metadata": {"name": name}, "spec": held}
    created = await lab.kube.create(SERVICES, made, namespace="default")
    await wait_endpoints(
        lab.kube,
        name,
        lambda held: sum(one["conditions"]["ready"] for one in held) == 4,
        timeout_s=_PATIENCE_S,
    )
    own = created["spec"]["clusterIPs"]
    balanced = await wait_load_balancer(lab.kube, name, timeout_s=_PATIENCE_S)
    return {"own": _by_version(own), "balanced": _by_version(map(str, balanced))}


def _by_version(addresses) -> dict[int, str]:
    return {ip_address(one).version: one for one in addresses}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(lab: Lab, pods: object) -> dict[str, dict[int, str]]:
    return await offer(lab, "web", NODE_PORT)


async def ask(flow: Flow) -> tuple[str, str]:
    """Return who answers, and whom it sees."""
    async with flow:
        who, _, seen = (await flow.line(b"?")).decode().partition(" ")
    return who, seen.strip()


async def ask_from(node: NodeHandle, host: str, port: int) -> tuple[str, str, str]:
    """Have a process of a node ask; return who answers, whom it sees, whom the process sees."""
    words = ("/usr/bin/env", "python3", "-I", "-c", ASK, host, str(port))
    who, seen, peer, _ = (await node.exec(*words)).split()
    return who, seen, peer


async def node_address(lab: Lab, name: str, version: int) -> IPAddress:
    shown = json.loads(await lab.node(name).exec("ip", "-j", "address", "show", "dev", "eth0"))
    family = "inet" if version == 4 else "inet6"
    found = (one for one in shown[0]["addr_info"] if one["family"] == family)
    return ip_address(next(one["local"] for one in found if one["scope"] == "global"))


@all_kinds
@versions
async def test_the_world_reaches_all_endpoints_by_the_load_balancer(web, outside, version):
    vip = ip_address(web["balanced"][version])

    answers = {
        await ask(await outside.connect(vip, port=PORT, source=WORLD[version])) for _ in range(16)
    }

    assert {who for who, _ in answers} == {"web-1", "web-2"}
    assert WORLD[version] in {seen for _, seen in answers}  # by whom the node asked has itself


@kinds
@versions
@pytest.mark.parametrize("asked", [0, 1], ids=["first", "second"])
async def test_the_world_reaches_all_endpoints_at_each_nodes_port(
    lab, places, web, outside, asked, version
):
    node = await node_address(lab, places[asked], version)

    answers = {
        await ask(await outside.connect(node, port=NODE_PORT, source=WORLD[version]))
        for _ in range(16)
    }

    own, other = ("web-1", "web-2") if asked == 0 else ("web-2", "web-1")
    assert answers == {(own, WORLD[version]), (other, str(node))}


@all_kinds
@versions
async def test_with_the_policy_local_every_endpoint_sees_the_client(lab, pods, outside, version):
    name, port = f"local-{version}", 30090 + version
    found = await offer(lab, name, port, externalTrafficPolicy="Local")
    vip = ip_address(found["balanced"][version])

    answers = {
        await ask(await outside.connect(vip, port=PORT, source=WORLD[version])) for _ in range(16)
    }

    assert answers == {("web-1", WORLD[version]), ("web-2", WORLD[version])}


@all_kinds
@versions
async def test_a_process_of_the_node_reaches_services_and_sees_them(lab, places, web, version):
    node = lab.node(places[0])
    local = {4: "127.0.0.1", 6: "::1"}[version]
    asked = [
        (web["own"][version], PORT),
        (web["balanced"][version], PORT),
        (str(await node_address(lab, places[0], version)), NODE_PORT),
        (local, NODE_PORT),
    ]
    for host, port in asked:
        answers = [await ask_from(node, host, port) for _ in range(12)]

        assert {peer for _, _, peer in answers} == {host}
        assert {who for who, _, _ in answers} == {"web-1", "web-2"}


@kinds
@versions
async def test_a_host_port_leads_to_its_pod(lab, places, web, outside, version):
    node = await node_address(lab, places[0], version)

    answer = await ask(await outside.connect(node, port=HOST_PORT, source=WORLD[version]))

    assert answer == ("web-1", WORLD[version])
    assert (await ask_from(lab.node(places[0]), str(node), HOST_PORT))[0] == "web-1"


@kinds
@versions
async def test_a_connection_from_outside_outlives_terwayd(lab, places, web, outside, version):
    # given connections by way of the first node, to endpoints here and elsewhere
    node = await node_address(lab, places[0], version)
    flows = [await outside.connect(node, port=NODE_PORT, source=WORLD[version]) for _ in range(8)]
    before = [await flow.line(b"?") for flow in flows]

    # when terwayd is replaced
    await lab.node(places[0]).restart_agent()

    # then each goes on with whom it has
    assert [await flow.line(b"?") for flow in flows] == before
    for flow in flows:
        await flow.close()
