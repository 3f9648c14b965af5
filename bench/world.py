"""Which lab does a figure need, and how does the benchmark get into its nodes?"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.support.place import Place

from bench.group import say
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.node import NodeHandle
from terway.lab.world.pods import pod_manifest
from terway.lab.world.waiting import wait_until

BIN_DIR = "/opt/cni/bin"
DEBUG_SOCKET = "/var/run/eni/eni_debug.socket"
SLEEP = ("/bin/sleep", "infinity")
LARGE = "ecs.g7.4xlarge"  # 8 ENIs of 30 addresses: 210 pods
HUGE = "ecs.g7.32xlarge"  # 15 ENIs of 30 addresses: 420 pods


@asynccontextmanager
async def lab(**plan: Any) -> AsyncIterator[Lab]:
    """Run a lab for the block, every node Ready on entry."""
    say(f"  lab: {', '.join(f'{k} {v}' for k, v in plan.items())}")
    async with open_lab(**plan) as opened:
        yield opened


def place_of(node: NodeHandle) -> Place:
    """Return the inside of a node: all its namespaces."""
    return Place(enter=tuple(node.words(())))


async def agent_page(node: NodeHandle, page: str) -> str:
    """Return a page of terwayd's read-only listener."""
    connector = aiohttp.UnixConnector(path=str(node.inside(DEBUG_SOCKET)))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://terwayd{page}") as answer,
    ):
        return await answer.text()


async def wait_free(node: NodeHandle, addresses: int) -> None:
    """Wait until the pool has that many free addresses: the last wave's have cooled.

    For nodes of one IP family: the pool counts the addresses of each.
    """
    async with asyncio.timeout(180):
        while (free := (await _pool(node))["free"]) < addresses:
            say(f"  {node.name}: {free} free addresses, waiting for {addresses}")
            await asyncio.sleep(2)


async def _pool(node: NodeHandle) -> dict[str, Any]:
    pool: dict[str, Any] = json.loads(await agent_page(node, "/debug/state"))["pool"]
    return pool


async def plugin_conf(node: NodeHandle, version: str) -> dict[str, Any]:
    """Return the first plugin's configuration as the node's runtime finds it, at `version`."""
    text = await place_of(node).run("cat", "/etc/cni/net.d/10-terway.conflist")
    conflist = json.loads(text)
    return {**conflist["plugins"][0], "name": conflist["name"], "cniVersion": version}


async def run_pods(lab: Lab, count: int, *, node: str, prefix: str = "pod-") -> list[str]:
    """Create pods on a node, wait until all are Ready, and return their names."""
    names = [f"{prefix}{number}" for number in range(count)]
    for name in names:
        sleeper = pod_manifest(name, namespace="default", node=node, command=SLEEP)
        sleeper["spec"]["terminationGracePeriodSeconds"] = 0
        await lab.kube.create(PODS, sleeper, namespace="default")
    await wait_pods_ready(lab, names)
    return names


async def wait_pods_ready(lab: Lab, names: Sequence[str]) -> None:
    """Wait until the pods of the default namespace that are named are Ready."""

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        ready = {key.name for key, pod in pods.items() if is_ready(pod)}
        waiting = [name for name in names if name not in ready]
        return f"{len(waiting)} of {len(names)} pods are not Ready" if waiting else ""

    await wait_until(lab.kube, PODS, trouble, timeout_s=120, namespace="default")


def is_ready(pod: Pod) -> bool:
    """Return whether a pod's condition Ready is true."""
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


async def remove_pods(lab: Lab, names: Sequence[str]) -> None:
    """Delete pods of the default namespace and wait until they are gone."""
    for name in names:
        await lab.kube.delete(PODS, name, namespace="default")

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        left = {key.name for key in pods} & set(names)
        return f"{len(left)} pods are still there" if left else ""

    await wait_until(lab.kube, PODS, trouble, timeout_s=120, namespace="default")


async def wait_quiet(lab: Lab, *, quiet_s: float = 3.0) -> None:
    """Wait until nobody has asked the cloud for anything for a while."""
    seen = -1
    while seen != lab.cloud.calls.count():
        seen = lab.cloud.calls.count()
        await asyncio.sleep(quiet_s)


def agent_rss_mb(node: NodeHandle) -> float:
    """Return the resident memory of terwayd in MB (10^6 bytes)."""
    for line in node.inside(f"/proc/{node.agent_pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"terwayd of {node.name} is not running")


def agent_cpu_s(node: NodeHandle) -> float:
    """Return the CPU seconds of terwayd's threads, exact to the nanosecond (schedstats)."""
    tasks = node.inside(f"/proc/{node.agent_pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def agent_began_s(node: NodeHandle) -> float:
    """Return when terwayd was started, in seconds of CLOCK_BOOTTIME (proc(5): 10 ms exact)."""
    stat = node.inside(f"/proc/{node.agent_pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
