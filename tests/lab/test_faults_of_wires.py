"""Wires that are bad, with real packets: a node cut off, packets lost, packets too big."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from terway.lab.faults.events import Event, Impair, Partition
from terway.lab.faults.live import inject
from terway.lab.faults.schedule import Schedule
from terway.lab.vpc.contract import DropReason
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.plan import KUBE_API, OPENAPI
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from terway.model.errors import UsageError

pytestmark = pytest.mark.lab

NODE = "node-1"
_LONG_S = 3600.0
PLUGIN = """
export CNI_COMMAND={verb} CNI_CONTAINERID=byhand CNI_NETNS=/run/netns/byhand CNI_IFNAME=eth0
export CNI_PATH=/opt/cni/bin
echo '{{"cniVersion":"1.1.0","name":"terway","type":"terway"}}' | /opt/cni/bin/terway
"""


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=2) as lab:
        yield lab


@pytest.fixture
async def pods(lab: Lab) -> tuple[PodHandle, PodHandle]:
    return await asyncio.gather(lab.pod("a", node=NODE), lab.pod("b", node="node-2"))


def schedule(*events: Event) -> Schedule:
    return Schedule(seed=1, length_s=1.0, events=events)


@asynccontextmanager
async def injected(lab: Lab, event: Event) -> AsyncIterator[None]:
    """Let an event last as long as the block does: nobody knows how long that is on a machine."""
    async with asyncio.TaskGroup() as tasks:
        injecting = tasks.create_task(inject(lab, schedule(event)))
        yield
        injecting.cancel()


async def reaches(node: NodeHandle, address: object) -> bool:
    """Return whether the node itself gets an answer from a service, be it a refusal."""
    try:
        await node.exec("timeout", "1", "bash", "-c", f"</dev/tcp/{address}/443 || test $? != 124")
    except UsageError:
        return False
    return True


async def call(node: NodeHandle, verb: str) -> Mapping[str, Any]:
    """Call the plugin for a container that Kubernetes does not know; return what it says."""
    said = await node.exec("sh", "-c", PLUGIN.format(verb=verb), check=False)
    answer: Mapping[str, Any] = json.loads(said or "{}")
    return answer


async def differences(lab: Lab) -> list[dict[str, Any]]:
    """Return where cloud, journal, kernel and Kubernetes do not say the same of the node."""
    keys = (
        f"ALIBABA_CLOUD_ACCESS_KEY_ID={lab.services.access_key_id}",
        f"ALIBABA_CLOUD_ACCESS_KEY_SECRET={lab.services.access_key_secret}",
    )
    words = (sys.executable, "-m", "terway.cli", "mapping", "--differences", "--json")
    said = json.loads(await lab.node(NODE).exec("env", *keys, *words, check=False))
    rows: list[dict[str, Any]] = said["rows"]
    return rows


async def lost_packets(lab: Lab) -> int:
    counters = (await lab.fabric.counters()).values()
    return sum(one.drops.get(DropReason.FAULT, 0) for one in counters)


async def test_a_node_cut_off_from_cloud_and_api_keeps_its_pods_and_agrees_afterwards(
    lab: Lab, pods: tuple[PodHandle, PodHandle]
) -> None:
    """What needs nobody else goes on; the rest is refused with its reason."""
    near, far = pods
    node = lab.node(NODE)
    await node.exec("ip", "netns", "add", "byhand")
    async with await far.connect(near) as flow:
        async with injected(lab, Partition(at=0.0, for_s=_LONG_S)):
            while await reaches(node, KUBE_API) or await reaches(node, OPENAPI):
                await node.exec("true")

            assert await flow.echo(b"still there") == b"still there"
            assert await near.can_reach(far)
            added = await call(node, "ADD")
        assert await flow.echo(b"and now") == b"and now"
    assert added.get("ips") or added.get("msg")
    assert await lost_packets(lab) > 0

    assert await call(node, "DEL") == {}
    later = await lab.pod("c", node=NODE)
    assert await far.can_reach(later)
    async with asyncio.timeout(PATIENCE_S):
        while await differences(lab):
            await node.exec("true")


async def test_bad_wires_of_pods_are_bad_for_a_while_and_a_delay_is_left_out(
    lab: Lab, pods: tuple[PodHandle, PodHandle]
) -> None:
    near, far = pods
    late = Impair(at=0.0, delay_ms=20.0)

    async with injected(lab, Impair(at=0.0, loss_percent=100.0, for_s=_LONG_S)):
        async with asyncio.timeout(PATIENCE_S):
            while await far.can_reach(near, timeout_s=2.0):
                await lab.node(NODE).exec("true")

    assert await lost_packets(lab) > 0
    short = Impair(at=0.0, loss_percent=100.0, for_s=0.1)
    assert await inject(lab, schedule(short, late)) == (late,)
    assert await far.can_reach(near)


async def test_packets_too_big_for_a_wire_find_out(
    lab: Lab, pods: tuple[PodHandle, PodHandle]
) -> None:
    """Bug class 32: path MTU discovery goes on when a wire carries less than its link says."""
    near, far = pods
    big = ("ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1400")
    to_far = str(far.address(Family.V4))
    await near.exec(*big, to_far)

    async with injected(lab, Impair(at=0.0, mtu_bytes=1280, for_s=_LONG_S)):
        while not await _is_refused(near, *big, to_far):
            await near.exec("true")
        async with await near.connect(far) as flow:
            data = b"x" * 20_000
            assert await flow.echo(data) == data


async def _is_refused(pod: PodHandle, *words: str) -> bool:
    try:
        await pod.exec(*words)
    except UsageError:
        return True
    return False
