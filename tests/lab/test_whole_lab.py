"""The main job, end to end: a pod gets an address of the VPC, and packets flow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from ipaddress import IPv4Network, IPv6Network

import pytest
import pytest_asyncio

from terway.kube.resource import CONFIG_MAPS
from terway.lab.policy.inforce import SOCKET
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.plan import POD_CIDR
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from tests.support.kill_walk import read_state_of

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

FAMILIES = [Family.V4, Family.V6]
both = pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])


def short_name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=short_name(), nodes=2) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "node-1", "near": "node-1", "far": "node-2"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


def pod_range(lab: Lab, family: Family) -> IPv4Network | IPv6Network:
    if family is Family.V4:
        return POD_CIDR
    found = lab.cloud.world.state.vswitches[lab.ground.pod_vswitch_id].ipv6_cidr
    assert found is not None
    return found


def node_address(lab: Lab, name: str, family: Family) -> IPAddress:
    instance = lab.instances[name]
    found = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert found is not None
    return found


def owners(lab: Lab, address: IPAddress) -> list[str]:
    enis = lab.cloud.world.state.enis.values()
    return [eni.id for eni in enis if address in (*eni.ipv4, *eni.ipv6)]


@both
async def test_a_pod_has_an_address_of_the_pod_vswitch(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    shown = await pods["a"].exec("ip", "-br", "address", "show", "eth0")

    for pod in pods.values():
        assert pod.address(family) in pod_range(lab, family)
        assert len(owners(lab, pod.address(family))) == 1
    assert f"{pods['a'].address(family)}/{family.max_prefixlen}" in shown


@both
async def test_pods_of_one_node_talk_without_leaving_it(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    before = await lab.fabric.counters()

    async with await pods["a"].connect(pods["near"], family=family) as flow:
        assert await flow.echo(b"x" * 100_000) == b"x" * 100_000

    after = await lab.fabric.counters()
    for address in (pods["a"].address(family), pods["near"].address(family)):
        eni = next(one for one in after if one in owners(lab, address))
        assert after[eni].ingress_bytes - before[eni].ingress_bytes < 50_000


@both
async def test_pods_of_different_nodes_talk_with_their_own_addresses(
    pods: dict[str, PodHandle], family: Family
) -> None:
    seen = await pods["a"].tool("whoami", str(pods["far"].address(family)))

    assert seen["peer"] == str(pods["a"].address(family))
    assert seen["host"] == "far"


@both
async def test_a_pod_reaches_its_own_node_and_another(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    for name in ("node-1", "node-2"):
        address = str(node_address(lab, name, family))
        await pods["a"].exec("ping", "-c1", "-w20", address)


@both
async def test_a_node_reaches_its_own_pods_and_others(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    for name in ("near", "far"):
        address = str(pods[name].address(family))
        await lab.node("node-1").exec("ping", "-c1", "-w20", address)


async def test_metadata_is_found_from_node_and_pod(lab: Lab, pods: dict[str, PodHandle]) -> None:
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=60).read().decode())"
    expected = lab.instances["node-1"].id

    from_node = await lab.node("node-1").exec("python3", "-c", script)
    from_pod = await pods["a"].exec("python3", "-c", script)

    assert (from_node.strip(), from_pod.strip()) == (expected, expected)


async def is_filled(lab: Lab, node: NodeHandle) -> bool:
    """Whether a node asks the cloud for nothing more: its pool has what it keeps."""
    try:
        pool = (await read_state_of(node.inside(SOCKET)))["pool"]
    except OSError:  # terwayd is not there yet
        return False
    return bool(pool["coming"] == 0 and pool["free"] >= lab.plan.min_free)


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_connections_survive_the_end_of_an_agent(
    lab: Lab, pods: dict[str, PodHandle], how: str
) -> None:
    """Bug class 40: a start that clears too much."""
    flow = await pods["a"].connect(pods["far"])
    node = lab.node("node-1")

    async with asyncio.timeout(PATIENCE_S):
        for one in lab.nodes.values():
            while not await is_filled(lab, one):
                await one.exec("true")

    with lab.cloud.calls.recording() as calls:
        await (node.kill_agent() if how == "kill" else node.restart_agent())

    assert await flow.echo(b"still there") == b"still there"
    assert calls.mutating == []
    await flow.close()


async def test_pods_start_after_an_agent_was_killed(lab: Lab) -> None:
    await lab.node("node-2").kill_agent()

    pod = await lab.pod("later", node="node-2")

    assert len(owners(lab, pod.address(Family.V4))) == 1


async def test_a_deleted_pod_leaves_nothing_on_its_node(lab: Lab) -> None:
    node = lab.node("node-2")
    pod = await lab.pod("short", node="node-2")
    addresses = {str(address) for address in pod.addresses}
    asked = ("rule", "route show table all", "address", "neigh")
    show = "; ".join(f"ip {family} {one}" for one in asked for family in ("-4", "-6"))

    async def left() -> set[str]:
        return addresses & {*(await node.exec("sh", "-c", show)).replace("/", " ").split()}

    assert await left()
    await lab.delete_pod("short")

    async with asyncio.timeout(PATIENCE_S):  # links go a little later, several at once
        while await left():
            pass


async def test_thirty_pods_have_thirty_addresses(lab: Lab) -> None:
    names = [f"many-{number}" for number in range(30)]

    pods = await asyncio.gather(*(lab.pod(name) for name in names))

    for family in FAMILIES:
        taken = {pod.address(family) for pod in pods}
        assert len(taken) == len(pods)
        assert all(len(owners(lab, address)) == 1 for address in taken)
    await asyncio.gather(*(lab.delete_pod(name) for name in names))


async def test_a_changed_eni_config_reaches_the_nodes(lab: Lab) -> None:
    before = await lab.kube.get(CONFIG_MAPS, "eni-config", namespace="kube-system")
    assert before is not None
    conf = lab.node("node-1").inside("/etc/eni")
    stamp = f"of {uuid.uuid4().hex}"

    patch = {"data": {"note": stamp}}
    await lab.kube.patch(CONFIG_MAPS, "eni-config", patch, namespace="kube-system")

    # the kubelet projects it; terwayd follows the ConfigMap itself (test_config_reload.py)
    async with asyncio.timeout(PATIENCE_S):
        while not (conf / "note").exists() or (conf / "note").read_text() != stamp:
            await lab.node("node-1").exec("true")
    assert {path.name for path in conf.iterdir()} == {*before.data, "note"}


async def test_the_machine_gets_no_link_and_no_address_from_a_lab(lab: Lab) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", "-br", "link", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    names = {line.split()[0].partition("@")[0] for line in output.decode().splitlines()}
    assert names <= {"lo", "ifb0", "ifb1"}
