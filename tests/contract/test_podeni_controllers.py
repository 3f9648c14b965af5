"""The controllers of pods' ENIs as they run: woken by what changes, many pods at a time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from terway.controlplane.informers import SharedInformers
from terway.controlplane.manager import run_controllers
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS
from tests.support.pod_eni_cluster import PREFIX, PodENICluster, open_pod_eni_cluster


def wishes(cluster: PodENICluster, **allocation: str) -> dict[str, str]:
    one = {
        "interface": "eth0",
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
        "allocationType": allocation or {"type": "Elastic"},
    }
    return {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [one]})}


async def pass_time(cluster: PodENICluster) -> None:
    """Have the cloud's time pass, ten times as fast as ours."""
    while True:
        await asyncio.sleep(0.01)
        cluster.cloud.pass_time(0.1)


@asynccontextmanager
async def running(cluster: PodENICluster):
    """Run the controllers over informers that follow the API server."""
    informers = SharedInformers(cluster.client, rng=Random(1))
    cluster.copies = informers
    cluster.build()
    async with asyncio.TaskGroup() as tasks:
        controllers = run_controllers(cluster.controllers, informers, rng=Random(2))
        started = [
            tasks.create_task(one) for one in (informers.run(), pass_time(cluster), controllers)
        ]
        yield informers
        for task in started:
            task.cancel()


async def until(informers: SharedInformers, resource, holds) -> None:
    """Return once `holds` does, of what is known of a collection."""
    informer = informers.of(resource)
    async with asyncio.timeout(60):
        with informer.subscribe() as changes:
            if holds(informer.objects):
                return
            async for _ in changes:
                if holds(informer.objects):
                    return


def bound_to(pods):
    uids = {pod["metadata"]["uid"] for pod in pods}

    def holds(objects):
        found = {
            one.metadata.annotations.get(f"{PREFIX}pod-uid")
            for one in objects.values()
            if one.status.phase == "Bind"
        }
        return found == uids

    return holds


async def test_pods_are_bound_moved_and_forgotten_by_what_changes(tmp_path):
    async with open_pod_eni_cluster(tmp_path) as cluster, running(cluster) as informers:
        kept = wishes(cluster, type="Fixed", releaseStrategy="Never")
        plain: dict[str, Any] = {
            "is_admitted": False,
            "annotations": {**kept, f"{PREFIX}pod-eni": "true"},
        }
        first = [await cluster.make_pod(f"web-{n}", "n1", **plain) for n in range(4)]
        await until(informers, POD_ENIS, bound_to(first))
        before = {one["NetworkInterfaceId"] for one in cluster.our_enis()}

        for n in range(4):
            await cluster.delete_pod(f"web-{n}")
        second = [await cluster.make_pod(f"web-{n}", "n2", **plain) for n in range(4)]
        await until(informers, POD_ENIS, bound_to(second))

        assert {one["NetworkInterfaceId"] for one in cluster.our_enis()} == before

        for n in range(4):
            await cluster.delete_pod(f"web-{n}")
            await cluster.client.delete(POD_ENIS, f"web-{n}", namespace="default")
        await until(informers, POD_ENIS, lambda objects: not objects)
        await until(informers, NETWORK_INTERFACES, lambda objects: not objects)
        assert cluster.our_enis() == []
