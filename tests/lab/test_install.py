"""Installed as the chart says, upgraded, rolled back, uninstalled: running pods notice nothing."""

from __future__ import annotations

import asyncio
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import yaml

from terway.agent.install import PLUGIN as OURS
from terway.cli.chart.render import find_chart, read_values, render
from terway.cli.chart.settings import overlaid
from terway.kube.resource import CONFIG_MAPS
from terway.lab.world.controlplane import wait_control_plane
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import Flow, PodHandle
from terway.lab.world.sockets import socket_in
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from terway.model.errors import UsageError
from tests.support.streams import Lockstep, lockstep

pytestmark = [pytest.mark.lab]

NODES = ("node-1", "node-2")
PLUGIN = "/opt/cni/bin/terway"
OLD: dict[str, Any] = {"pool": {"minSize": 1, "maxSize": 3}}
NEW: dict[str, Any] = {"pool": {"minSize": 2, "maxSize": 6}, "networkPolicy": False}
EBPF: dict[str, Any] = {"pool": {"minSize": 1, "maxSize": 4}, "datapath": "datapathv2"}
# The lab's own programs run outside of pods.
WORKLOADS = ("DaemonSet", "Deployment", "PodDisruptionBudget", "Service")
PORT = 7460
PAUSE_S = 0.01
TERWAYD = (sys.executable, "-m", "terway.agent.main")
Pairs = tuple[tuple[PodHandle, PodHandle], ...]
CLI = (sys.executable, "-m", "terway.cli")


def manifests(lab: Lab, values: dict[str, Any]) -> str:
    """Return what the chart makes for this lab, as far as its programs are not pods."""
    chart, ground = find_chart(), lab.ground
    of_lab = {
        "regionID": lab.plan.region_id,
        "clusterID": "lab",
        "vpcID": ground.vpc_id,
        "vSwitches": {lab.plan.zone_id: [ground.pod_vswitch_id]},
        "securityGroupIDs": [ground.security_group_id],
        "serviceCIDR": "172.21.0.0/20",
    }
    text = render(overlaid(overlaid(read_values([], [], chart=chart), of_lab), values), chart=chart)
    objects = [one for one in yaml.safe_load_all(text) if one["kind"] not in WORKLOADS]
    return yaml.safe_dump_all(objects)


async def release(lab: Lab, values: dict[str, Any]) -> None:
    """Install, upgrade or roll back: configuration, control plane, then node by node."""
    await lab.apply(manifests(lab, values))
    assert lab.control_plane is not None
    await lab.control_plane.restart()
    await wait_control_plane(lab.control_plane, lab.fabric.services_netns_path)
    for name in NODES:
        node = lab.node(name)
        wanted = f'"max_pool_size": {values["pool"]["maxSize"]}'
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in await node.exec("cat", "/etc/eni/eni_conf"):
                await node.exec("true")  # the kubelet has not written it yet
        await node.exec(*TERWAYD, "--prepare", "--config=/etc/eni/eni_conf")
        await node.restart_agent()
        await healthy(lab, name)


async def put_other_plugin(lab: Lab, name: str) -> None:
    """Have the plugin be one of another version, which serves as well as ours."""
    made = f"cp {PLUGIN} {PLUGIN}.other && echo other >> {PLUGIN}.other"
    await lab.node(name).exec("sh", "-c", f"{made} && mv {PLUGIN}.other {PLUGIN}")


async def healthy(lab: Lab, name: str) -> None:
    """Wait as the kubelet's probe does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await lab.node(name).exec(*CLI, "health", "--ready")
                return
            except UsageError:
                await lab.node(name).exec("true")


@asynccontextmanager
async def talking(pairs: Pairs, *, asks_again: bool) -> AsyncIterator[list[tuple[Flow, Lockstep]]]:
    """Keep connections open, and datagrams going of which none may be lost.

    With `asks_again` a datagram may be: queues and filters go away with the packets in them.
    """
    async with AsyncExitStack() as stack:
        begin = stack.enter_async_context
        yield [await begin(_talking(*pair, asks_again=asks_again)) for pair in pairs]


@asynccontextmanager
async def _talking(
    source: PodHandle, target: PodHandle, *, asks_again: bool
) -> AsyncIterator[tuple[Flow, Lockstep]]:
    to, back = (str(one.address(Family.V4)) for one in (target, source))
    asks = await socket_in(source.netns_path, to, socket.SOCK_DGRAM)
    answers = await socket_in(target.netns_path, back, socket.SOCK_DGRAM)
    place = (target.address(Family.V4), PORT)
    with asks, answers:
        answers.bind((to, PORT))
        async with (
            await source.connect(target) as flow,
            lockstep(asks, answers, place, asks_again=asks_again, pause_s=PAUSE_S) as datagrams,
        ):
            yield flow, datagrams


async def uninstall(lab: Lab) -> None:
    """Remove the chart, and then what is left in the nodes' kernels."""
    await lab.kube.delete(CONFIG_MAPS, "eni-config", namespace="kube-system")
    for name in NODES:
        node = lab.node(name)
        await node.exec("rm", "/etc/eni/eni_conf")  # which the DaemonSet's pods had mounted
        await node.exec("kill", str(node.agent_pid), check=False)
        async with asyncio.timeout(PATIENCE_S):
            while not await left(lab, name):
                await node.exec("true")


async def left(lab: Lab, name: str) -> bool:
    """Say whether terwayd could leave; it cannot while another one holds the lock."""
    try:
        await lab.node(name).exec(*TERWAYD, "--uninstall")
    except UsageError:
        return False
    return True


async def test_running_pods_go_on_through_upgrade_rollback_and_uninstall():
    """bug class 20: a restart of the agent breaks what it did not make itself."""
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=0, control_plane=True, progress=print) as lab:
        await lab.configure_agents()
        await lab.apply(manifests(lab, OLD))
        for node in NODES:
            await lab.add_node(node)
        await lab.wait_ready(*NODES)
        near, far, third = [
            await lab.pod(pod, node=node)
            for pod, node in (("near", "node-1"), ("far", "node-2"), ("third", "node-1"))
        ]
        pairs: Pairs = ((near, far), (third, near))
        async with talking(pairs, asks_again=False) as flows:
            for step, values in (("upgrade", NEW), ("rollback", OLD)):
                await put_other_plugin(lab, "node-1")
                await release(lab, values)

                await goes_on(flows, step)
                assert lab.node("node-1").inside(PLUGIN).read_bytes() == OURS.read_bytes()
                await new_pods_talk(lab, step, near, far)
        async with talking(pairs, asks_again=True) as flows:
            await release(lab, EBPF)
            await goes_on(flows, "ebpf")
            await new_pods_talk(lab, "ebpf", near, far)

            await uninstall(lab)

            await goes_on(flows, "uninstall")
            assert await near.can_reach(far)


async def new_pods_talk(lab: Lab, name: str, *others: PodHandle) -> None:
    fresh = await lab.pod(name, node="node-1")
    for other in others:
        assert await fresh.can_reach(other)
        assert await other.can_reach(fresh)
    await lab.delete_pod(name)


async def goes_on(flows: list[tuple[Flow, Lockstep]], step: str) -> None:
    for flow, datagrams in flows:
        assert await flow.echo(step.encode()) == step.encode()
        await datagrams.advance()
