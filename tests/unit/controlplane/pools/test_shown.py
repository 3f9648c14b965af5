"""What does a node's resource say of its pool, beside the addresses? On virtual time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from terway.controlplane.budget import CallBudget
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.readings import SharedReadings
from terway.controlplane.pools.settings import Degradation
from terway.controlplane.pools.sync import FleetSync
from terway.kube.clock import parse_time
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import (
    CLUSTER,
    Agent,
    Cluster,
    add,
    control_plane,
    delete,
    eventually,
    wall_clock,
)
from tests.support.virtual_time import virtual_clock

EVERY_S = 600.0


def make(tmp_path, *, cluster=None, **conf):
    cluster = cluster or Cluster()
    instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
    return cluster, Agent(cluster, tmp_path, instance, **conf)


def conditions(cluster) -> dict[str, Any]:
    enis = cluster.status().get("networkInterfaces", {}).values()
    return {name: one for eni in enis for name, one in eni.get("conditions", {}).items()}


@asynccontextmanager
async def synced(cluster, pools, level):
    """Have the cloud read for all nodes, every ten minutes."""
    budget = CallBudget(clock=virtual_clock)
    readings = SharedReadings(cluster.client, budget, clock=virtual_clock)
    gone = Gone(
        cluster.kube(),
        cluster.client,
        readings,
        budget,
        cluster_id=CLUSTER,
        owned=lambda: (),
        instances=lambda: (),
        wall_clock=wall_clock,
    )
    sync = FleetSync(
        pools,
        readings,
        gone,
        degradation=lambda: Degradation(level=level[0]),
        clock=virtual_clock,
        every_s=EVERY_S,
    )
    task = asyncio.create_task(sync.run())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def quiet_node(tmp_path, level=("",)):
    """Have a node with one pod, where nothing changes."""
    cluster, agent = make(tmp_path)
    async with (
        control_plane(cluster) as pools,
        agent.running() as service,
        synced(cluster, pools, level),
    ):
        (pod,) = cluster.schedule("node-1")
        await add(service, pod)
        yield cluster


def test_a_vswitch_that_runs_out_is_a_condition_of_its_enis(tmp_path):
    async def main():
        small = Cluster(pod_cidr="192.168.32.0/28")
        cluster, agent = make(tmp_path, cluster=small, max_pool_size=0)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 4)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            assert conditions(cluster) == {}
            room = cluster.cloud.at.pod_vswitch
            cluster.cloud.before_call = lambda call: drain(cluster, call, room)
            more = cluster.schedule("node-1", 4)
            await asyncio.gather(*(add(service, pod) for pod in more), return_exceptions=True)
            found = conditions(cluster)
        assert set(found) == {"InsufficientIP"}
        assert "IpNotEnough" in found["InsufficientIP"]["message"]
        assert found["InsufficientIP"]["observedTime"] <= cluster.status()["lastModifiedTime"]

    run_virtually(main())


def drain(cluster, call, room) -> None:
    """Have somebody else take what the vSwitch has, just before we ask."""
    if call.action == "AssignPrivateIpAddresses":
        cluster.cloud.before_call = lambda call: None
        answer = cluster.cloud.at.call(
            "CreateNetworkInterface",
            VSwitchId=room,
            SecurityGroupId=cluster.cloud.at.group,
            SecondaryPrivateIpAddressCount=6,
        )
        assert "Code" not in answer, answer


def test_the_warm_up_is_counted_until_it_is_reached(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, ip_warm_up_size=20, max_pool_size=0)
        counts = []
        async with control_plane(cluster), agent.running():
            while not cluster.status().get("warmUpCompleted"):
                await asyncio.sleep(0.1)
                counts.append(cluster.status().get("warmUpAllocatedCount", 0))
            await eventually(lambda: len(cluster.addresses()) < 20, within_s=900)
            status = cluster.status()
        assert counts == sorted(counts)
        assert (status["warmUpTarget"], status["warmUpAllocatedCount"]) == (20, 20)

    run_virtually(main())


def test_an_idle_pool_says_when_it_gives_back(tmp_path):
    async def main():
        idle = {"idle_ip_reclaim_after": "2m", "idle_ip_reclaim_interval": "5m"}
        cluster, agent = make(tmp_path, max_pool_size=8, **idle)
        async with control_plane(cluster), agent.running() as service:
            (pod,) = cluster.schedule("node-1")
            await add(service, pod)
            assert "nextIdleIPReclaimTime" not in cluster.status()
            await eventually(lambda: "nextIdleIPReclaimTime" in cluster.status(), within_s=180)
            before, at = len(cluster.addresses()), cluster.status()["nextIdleIPReclaimTime"]
            assert parse_time(at) > wall_clock()
            await asyncio.sleep(parse_time(at) - wall_clock() - 2)
            assert len(cluster.addresses()) == before
            await eventually(lambda: len(cluster.addresses()) < before, within_s=60)
            cluster.remove(pod)
            await delete(service, pod)
            await eventually(lambda: "nextIdleIPReclaimTime" not in cluster.status(), within_s=30)

    run_virtually(main())


def test_a_quiet_node_says_when_the_cloud_was_read_and_will_be(tmp_path):
    """Within half a period of the reading, so that not all nodes are written at once."""

    async def main():
        async with quiet_node(tmp_path) as cluster:
            for _ in range(3):
                await asyncio.sleep(EVERY_S)
                await eventually(lambda: is_fresh(cluster.status()), within_s=EVERY_S / 2 + 90)

    run_virtually(main())


def is_fresh(status) -> bool:
    last, after = (status.get(f"{one}SyncOpenAPITime") for one in ("last", "next"))
    if last is None or after is None:
        return False
    lasts = parse_time(after) - parse_time(last)
    return wall_clock() - parse_time(last) < EVERY_S and EVERY_S - 30 < lasts < EVERY_S + 30


def test_a_quiet_node_is_written_once_for_each_reading(tmp_path):
    async def main():
        async with quiet_node(tmp_path) as cluster:
            await asyncio.sleep(2 * EVERY_S)
            seen = set()
            for _ in range(600):
                await asyncio.sleep(10.0)
                seen.add(cluster.status()["lastModifiedTime"])
        assert len(seen) <= 12

    run_virtually(main())


def test_while_nothing_is_read_no_time_is_promised(tmp_path):
    async def main():
        level = [""]
        async with quiet_node(tmp_path, level) as cluster:
            await asyncio.sleep(2 * EVERY_S)
            assert "nextSyncOpenAPITime" in cluster.status()
            level[0] = "l1"
            gone = lambda: "nextSyncOpenAPITime" not in cluster.status()  # noqa: E731
            await eventually(gone, within_s=2 * EVERY_S)

    run_virtually(main())


def test_a_control_plane_that_was_long_away_does_not_write_all_nodes_at_once(tmp_path):
    """What they say of the next reading is over by then, and helps nobody in a hurry."""

    async def main():
        cluster = Cluster()
        names = [f"node-{number}" for number in range(1, 11)]
        agents = [Agent(cluster, tmp_path, cluster.add_node(name), name=name) for name in names]
        async with AsyncExitStack() as lives:
            async with control_plane(cluster) as pools, synced(cluster, pools, [""]):
                for agent in agents:
                    await lives.enter_async_context(agent.running())
                await asyncio.sleep(3 * EVERY_S)
            await asyncio.sleep(3 * EVERY_S)
            before = {name: cluster.status(name)["lastModifiedTime"] for name in names}

            async with control_plane(cluster, seed="2") as pools, synced(cluster, pools, [""]):
                await asyncio.sleep(15.0)
                written = [n for n in names if cluster.status(n)["lastModifiedTime"] != before[n]]
                assert len(written) < len(names)

    run_virtually(main())
