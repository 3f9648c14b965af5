"""A node that takes its supply into its own hands waits for who called the cloud before, or not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from terway.agent.leave_supply import leave_supply
from terway.agent.supply import KeptRound
from terway.kube.crds import POOL_NODES
from terway.lab.faults.virtual import run_virtually
from terway.model.ids import NodeName
from tests.support.centralized import (
    Agent,
    Cluster,
    add,
    at_once,
    control_plane,
    delete,
    eventually,
)
from tests.support.virtual_time import virtual_clock

NODE = NodeName("node-1")


def make(tmp_path, **conf):
    cluster = Cluster()
    instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
    conf = {"security_groups": [cluster.cloud.at.group], "max_pool_size": 0, **conf}
    return cluster, Agent(cluster, tmp_path, instance, **conf)


def kept_by(agent) -> KeptRound:
    return KeptRound(agent.file, elsewhere=at_once)


async def leave(cluster, agent) -> float:
    """Return how many seconds it took."""
    begun = virtual_clock()
    await leave_supply(cluster.kube(), NODE, kept_by(agent))
    return virtual_clock() - begun


def test_a_node_that_was_never_supplied_waits_for_nobody(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        assert await leave(cluster, agent) < 1.0

    run_virtually(main())


def test_the_control_plane_lets_go_and_says_so(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster):
            async with agent.running() as service:
                (pod,) = cluster.schedule("node-1")
                await add(service, pod)
            before = cluster.status().get("round", 0)
            assert await leave(cluster, agent) < 3.0
            status = cluster.status()
            assert not status.get("networkInterfaces")
            assert status["round"] == before + 1 == kept_by(agent).answered.round
            cluster.schedule("node-1", 5)
            calls = len(cluster.cloud.cloud.calls.all)
            await asyncio.sleep(300)
            assert len(cluster.cloud.cloud.calls.all) == calls

    run_virtually(main())


def test_a_control_plane_that_is_away_is_not_waited_for_long(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster), agent.running() as service:
            (pod,) = cluster.schedule("node-1")
            await add(service, pod)
        assert 9.0 < await leave(cluster, agent) < 12.0

    run_virtually(main())


def test_an_address_that_was_given_back_is_not_given_to_a_pod_before_it_is_gone(tmp_path):
    """Bug class 4: its call was under way when the node began to see to itself."""

    async def main():
        cluster, agent = make(tmp_path, ip_pool_sync_period="5s")
        world = cluster.cloud.cloud.world
        slow = {"UnassignPrivateIpAddresses": 4.0}
        world.delays = replace(world.delays, answer_s={**world.delays.answer_s, **slow})
        async with control_plane(cluster) as pools:
            async with agent.running() as service:
                pods = cluster.schedule("node-1", 4)
                await asyncio.gather(*(add(service, pod) for pod in pods))
                for pod in pods[1:]:
                    cluster.remove(pod)
                    await delete(service, pod)
                await eventually(lambda: changing(pools), within_s=600)
            async with agent.running(is_supplied=False) as service:
                assert not changing(pools)
                more = cluster.schedule("node-1", 6)
                found = await asyncio.gather(*(add(service, pod) for pod in more))
                await asyncio.sleep(60)
                enis = cluster.cloud.secondary_enis().values()
                there = {ip for ips in enis for ip in ips}
                assert {str(one.lease.addresses.v4) for one in found} <= there

    run_virtually(main())


def changing(pools) -> int:
    return sum(one.changing for one in pools.pools.values())


def test_what_the_resource_said_before_counts_no_more_when_the_node_is_supplied_again(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with agent.running_later() as service_of, control_plane(cluster):
            service = await service_of()
            (pod,) = cluster.schedule("node-1")
            await add(service, pod)
        old = cluster.find(POOL_NODES, "node-1")
        await leave(cluster, agent)  # nobody answers: what it says stays, and is old
        assert old["status"] == cluster.status()
        async with agent.running() as service:
            pods = cluster.schedule("node-1", 2)
            adding = [asyncio.ensure_future(add(service, pod)) for pod in pods]
            await asyncio.sleep(30)
            assert not any(one.done() for one in adding)
            async with control_plane(cluster, seed="2"):
                await asyncio.gather(*adding)

    run_virtually(main())
