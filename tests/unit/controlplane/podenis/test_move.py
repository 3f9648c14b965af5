"""A fixed address moves as fast as the cloud lets it, and for few calls."""

from __future__ import annotations

import asyncio
from collections import Counter

from terway.lab.faults.virtual import run_virtually
from tests.support.pod_eni_live import LivePodENIs, pod_eni_control_plane
from tests.support.virtual_time import virtual_clock
from tests.unit.controlplane.podenis.test_room import bound

FIXED = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "10m"}
CLOUD_S = 3.0 + 2.0  # detach and attach
OURS_S = 0.35


async def move(cluster, to):
    """Have the pod made anew on another node; return how long that took."""
    cluster.delete_pod("db-0")
    began = virtual_clock()
    await asyncio.sleep(0.05)
    cluster.make_pod("db-0", to, **FIXED)
    async with asyncio.timeout(60):
        while cluster.phase("db-0") != "Bind" or cluster.node("db-0") != to:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return virtual_clock() - began


def test_a_move_takes_what_the_cloud_takes_and_hardly_more():
    async def main():
        cluster = LivePodENIs()
        for name in ("n1", "n2"):
            cluster.add_shared_node(name, eni="3")
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("db-0", "n1", **FIXED)
            await bound(cluster, "db-0")
            await move(cluster, "n2")
            calls = Counter[str]()
            cluster.cloud.before_call = lambda call: calls.update([call.action])

            took_s = [await move(cluster, name) for name in ("n1", "n2", "n1", "n2")]

        assert max(took_s) <= CLOUD_S + OURS_S
        assert calls["DetachNetworkInterface"] == calls["AttachNetworkInterface"] == len(took_s)
        assert calls["DescribeNetworkInterfaces"] <= 10 * len(took_s)

    run_virtually(main())


def test_what_somebody_did_meanwhile_is_found_by_a_look():
    """The first call goes by what is known; the cloud refuses, and nothing is lost."""

    async def main():
        cluster = LivePodENIs()
        for name in ("n1", "n2"):
            cluster.add_shared_node(name, eni="3")
        at = cluster.cloud.at
        async with pod_eni_control_plane(cluster):
            cluster.make_pod("db-0", "n1", **FIXED)
            await bound(cluster, "db-0")
            (eni_id,) = cluster.interfaces()
            place = cluster.interfaces()[eni_id]["status"]["instanceID"]
            at.call("DetachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=place)
            await asyncio.sleep(10)

            assert await move(cluster, "n2") < CLOUD_S

    run_virtually(main())
