"""Pods whose packets go by the eBPF data path: the same reach as by policy routing, and faster."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.pods import PodHandle
from terway.model.address import Family, IPAddress

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
JUMBO = NodePool(name="jumbo", nodes=1, instance_type="ecs.g7.2xlarge", jumbo_frames=True)
HEADERS = {Family.V4: 28, Family.V6: 48}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=2,
        pools=(JUMBO,),
        cni={"eniip_virtual_type": "datapathv2", "host_stack_cidrs": ["169.254.20.10/32"]},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "node-1", "near": "node-1", "far": "node-2", "large": "jumbo-1"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


def node_address(lab: Lab, name: str, family: Family) -> IPAddress:
    instance = lab.instances[name]
    found = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert found is not None
    return found


def log_of(folder: str) -> str:
    """Return what terwayd has logged."""
    return Path(folder, "terwayd.log").read_text()


async def forwarded(lab: Lab, name: str) -> int:
    """Return how many packets a node's stack has forwarded."""
    v4 = (await lab.node(name).exec("grep", "^Ip:", "/proc/net/snmp")).splitlines()
    names, values = (line.split() for line in v4)
    v6 = (await lab.node(name).exec("grep", "Ip6OutForwDatagrams", "/proc/net/snmp6")).split()[1]
    return int(values[names.index("ForwDatagrams")]) + int(v6)


@both
@pytest.mark.parametrize("target", ["near", "far", "large"])
async def test_pods_reach_each_other_in_both_directions(pods, target, family):
    for one, other in ((pods["a"], pods[target]), (pods[target], pods["a"])):
        seen = await one.tool("whoami", str(other.address(family)))

        assert seen["peer"] == str(one.address(family))


@both
@pytest.mark.parametrize("target", ["near", "far"])
async def test_a_connection_between_pods_passes_the_stacks_of_their_nodes_by(
    lab, pods, target, family
):
    async with await pods["a"].connect(pods[target], family=family) as flow:
        assert await flow.echo(b"first") == b"first"
        before = [await forwarded(lab, name) for name in ("node-1", "node-2")]

        assert await flow.echo(b"x" * 500_000) == b"x" * 500_000

        assert [await forwarded(lab, name) for name in ("node-1", "node-2")] == before


@both
@pytest.mark.parametrize("target", ["a", "far"])
async def test_the_node_reaches_pods_and_pods_the_node(lab, pods, target, family):
    """Bug class 50."""
    address, own = pods[target].address(family), node_address(lab, "node-1", family)
    script = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).read())"
    host = f"[{address}]" if family is Family.V6 else str(address)

    seen = await lab.node("node-1").exec("python3", "-c", script, f"http://{host}:8080/")

    assert str(own) in seen
    await pods[target].exec("ping", "-c1", "-w20", str(own))


@both
async def test_what_is_too_large_for_the_other_node_is_told_and_then_fits(pods, family):
    """Bug class 32."""
    target = str(pods["a"].address(family))
    too_large = str(8500 - HEADERS[family])

    await pods["large"].exec("ping", "-c2", "-W2", "-M", "do", "-s", too_large, target, check=False)

    assert "mtu 1500" in await pods["large"].exec("ip", "route", "get", target)
    for one, other in (("large", "a"), ("a", "large")):
        async with await pods[one].connect(pods[other], family=family) as flow:
            assert await flow.echo(b"x" * 300_000) == b"x" * 300_000


@both
async def test_a_packet_that_is_cut_arrives(pods, family):
    for target in ("near", "far"):
        address = str(pods[target].address(family))
        await pods["a"].exec("ping", "-c2", "-W2", "-M", "dont", "-s", "4000", address)


@both
async def test_a_packet_whose_time_is_up_is_told_so(pods, family):
    address = str(pods["far"].address(family))

    said = await pods["a"].exec("ping", "-c1", "-W2", "-t1", address, check=False)

    assert "ime to live exceeded" in said or "ime exceeded" in said


async def test_the_nodes_own_dns_cache_answers_pods(lab, pods):
    """Bug class 34."""
    node = lab.node("node-1")
    await node.exec("ip", "address", "add", "169.254.20.10/32", "dev", "lo")
    try:
        await pods["a"].exec("ping", "-c1", "-w20", "169.254.20.10")
    finally:
        await node.exec("ip", "address", "del", "169.254.20.10/32", "dev", "lo")


async def test_the_metadata_service_is_reached_unless_the_pod_may_not(lab, pods):
    notes = {"k8s.aliyun.com/metadata-access": "false"}
    closed = await lab.pod("closed", node="node-1", annotations=notes)
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=60).read())"

    assert lab.instances["node-1"].id in await pods["a"].exec("python3", "-c", script)
    assert "URLError" in await closed.exec("python3", "-c", script, check=False)
    await lab.delete_pod("closed")


@both
async def test_what_entered_by_eth0_is_answered_by_eth0(lab, pods, family):
    """Bug class 26: a port of the node that somebody else leads to a pod, asked from elsewhere."""
    own, pod = node_address(lab, "node-1", family), pods["a"].address(family)
    word = "ip" if family is Family.V4 else "ip6"
    host = f"[{pod}]" if family is Family.V6 else str(pod)
    rule = f"{word} daddr {own} tcp dport 31999 dnat {word} to {host}:8080"
    chain = f"{{\ntype nat hook prerouting priority -100\n{rule}\n}}"
    table = f"inet port_{word}"
    await lab.node("node-1").exec("nft", f"table {table} {{\nchain prerouting {chain}\n}}")
    at = f"[{own}]" if family is Family.V6 else str(own)
    script = (
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).read().decode())"
    )
    try:
        said = await lab.node("node-2").exec("python3", "-c", script, f"http://{at}:31999/")
    finally:
        await lab.node("node-1").exec("nft", "delete", "table", *table.split())

    assert json.loads(said)["peer"] == str(node_address(lab, "node-2", family))


async def test_connections_survive_the_end_of_an_agent_and_pods_start_after(lab, pods):
    """Bug class 46."""
    async with await pods["a"].connect(pods["far"]) as flow:
        await lab.node("node-1").kill_agent()
        pod = await lab.pod("later", node="node-1")

        assert await flow.echo(b"still there") == b"still there"
        assert await pod.can_reach(pods["a"])
    await lab.delete_pod(pod.name)


async def test_the_maps_and_their_memory_are_told(lab):
    node = lab.node("node-1")
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(b'GET /metrics HTTP/1.0\\r\\n\\r\\n'); "
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )

    said = await node.exec("python3", "-c", script, "/var/run/eni/eni_debug.socket")

    assert 'terway_ebpf_map_memory_bytes{map="flows"}' in said
    assert "datapath.up" in log_of(node.spec.log_dir)
