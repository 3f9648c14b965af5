"""Pods with an ENI each on nodes with the eBPF data path: programs at both their legs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.agent.mender import POD_MENDED
from terway.kube.resource import EVENTS
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
POOL = NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(POOL,),
        cni={"eniip_virtual_type": "datapathv2"},
        eni_conf={"ip_cooldown_period": "1s"},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "eni-1", "near": "eni-1", "far": "eni-2", "shared": "node-1"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


async def test_programs_stand_behind_a_stamp_at_the_device_of_the_pod(pods):
    said = await pods["a"].exec("tc", "filter", "show", "dev", "eth0", "egress")

    assert said.index("tw_") < said.index("terway_out_of_pod")


@both
@pytest.mark.parametrize("target", ["near", "far", "shared"])
async def test_pods_reach_each_other_by_the_vpc_in_both_directions(pods, target, family):
    for one, other in ((pods["a"], pods[target]), (pods[target], pods["a"])):
        seen = await one.tool("whoami", str(other.address(family)))

        assert seen["peer"] == str(one.address(family))


@both
async def test_the_node_reaches_its_pods_and_pods_their_node(lab, pods, family):
    """Bug class 50."""
    instance = lab.instances["eni-1"]
    own = instance.ipv4 if family is Family.V4 else instance.ipv6

    await lab.node("eni-1").exec("ping", "-c1", "-w20", str(pods["a"].address(family)))
    await pods["a"].exec("ping", "-c1", "-w20", str(own))


async def test_a_pod_cannot_send_from_another_address(pods):
    """The stamp says who it is, whatever it claims."""
    pod, target = pods["a"], str(pods["far"].address(Family.V4))
    await pod.exec("ip", "address", "add", "192.168.63.1/32", "dev", "eth0")
    try:
        with pytest.raises(Exception, match="ping"):
            await pod.exec("ping", "-c1", "-W1", "-I", "192.168.63.1", target)
    finally:
        await pod.exec("ip", "address", "del", "192.168.63.1/32", "dev", "eth0")


async def test_connections_survive_the_end_of_an_agent_and_pods_start_after(lab, pods):
    """Bug class 46."""
    async with await pods["a"].connect(pods["far"]) as flow:
        await lab.node("eni-1").kill_agent()
        pod = await lab.pod("later", node="eni-1")

        assert await flow.echo(b"still there") == b"still there"
        assert await pod.can_reach(pods["far"])
    await lab.delete_pod(pod.name)


async def test_a_device_that_comes_back_from_a_pod_serves_the_next_one(lab):
    first = await lab.pod("short", node="eni-2")
    await lab.delete_pod(first.name)

    again = await lab.pod("next", node="eni-2")

    assert await again.can_reach(again)
    await lab.delete_pod(again.name)


async def is_guarded(pod: PodHandle) -> bool:
    """Return whether programs see what a pod sends, and nothing is before them."""
    said = await pod.exec("tc", "filter", "show", "dev", "eth0", "egress")
    return "terway_out_of_pod" in said and "pref 7 " not in said


async def told_of(lab: Lab) -> set[str]:
    """Return the names of those of which it was told that something was mended."""
    events = (await lab.kube.list(EVENTS)).items
    return {one.involved_object.name for one in events if one.reason == POD_MENDED}


async def test_a_pod_that_takes_its_programs_away_gets_them_back_and_is_told(lab, pods):
    """With CAP_NET_ADMIN it can, and again and again."""
    pod = await lab.pod("meddler", node="eni-1")
    past = "filter add dev eth0 egress pref 7 u32 match u32 0 0 flowid 1:1"
    for deed in ("qdisc del dev eth0 clsact", past) * 4:
        await pod.exec("tc", *deed.split())
        async with asyncio.timeout(PATIENCE_S):
            while not await is_guarded(pod):
                await pod.exec("true")

    assert await pod.can_reach(pods["near"])
    async with asyncio.timeout(PATIENCE_S):
        while not (told := await told_of(lab)):
            await pod.exec("true")
    assert told == {pod.name}
    await lab.delete_pod(pod.name)
