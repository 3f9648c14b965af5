"""A node whose pool has all slots gives an idle ENI up for a pod with an ENI of its own.

What the node says that it has grows then, which wakes who waits (`podenis/test_room`).
"""

from __future__ import annotations

import asyncio

from terway.kube.crds import NETWORK_INTERFACES
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import Agent, Cluster, add, control_plane, delete, eventually
from tests.support.emulated_pool import CAPACITY

AT_ONCE_S = 15.0  # asked, answered, detached after 3 s and deleted; a surplus lasts 120 s


def enis(cluster):
    return cluster.cloud.secondary_enis()


def left(cluster):
    return cluster.node_capacity().get("aliyun/eni")


async def fill(cluster, service):
    """Have all slots be the pool's, and a pod or more on each ENI."""
    pods = cluster.schedule("node-1", CAPACITY)
    await asyncio.gather(*(add(service, pod) for pod in pods))
    await eventually(lambda: left(cluster) == "0")
    return pods


async def go(cluster, service, pods):
    for pod in pods:
        cluster.remove(pod)
        await delete(service, pod)
    await asyncio.sleep(40)  # they have rested


def make(tmp_path):
    cluster = Cluster()
    instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
    return cluster, Agent(cluster, tmp_path, instance, max_pool_size=CAPACITY)


def test_an_idle_eni_goes_as_soon_as_a_pod_waits_for_its_slot_and_comes_back_after(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster), agent.running() as service:
            pods = await fill(cluster, service)
            await go(cluster, service, pods[1:])
            kept = str(service.attachments()[0].lease.addresses.v4)

            cluster.bind_whole("eni-alone")

            await eventually(lambda: left(cluster) == "1", within_s=AT_ONCE_S)
            await asyncio.sleep(300)
            assert len(enis(cluster)) == 2
            assert kept in {ip for ips in enis(cluster).values() for ip in ips}
            cluster.delete(NETWORK_INTERFACES, "eni-alone")
            await asyncio.gather(
                *(add(service, pod) for pod in cluster.schedule("node-1", CAPACITY - 1))
            )

    run_virtually(main())


def test_no_eni_goes_while_pods_are_on_each_but_the_first_that_they_leave(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster), agent.running() as service:
            pods = await fill(cluster, service)
            homes = {pod: (await add(service, pod)).lease.eni_id for pod in pods}  # as it was
            cluster.bind_whole("eni-alone")
            await asyncio.sleep(300)
            assert len(enis(cluster)) == 3

            first = homes[pods[0]]
            await go(cluster, service, [pod for pod in pods if homes[pod] == first])

            await eventually(lambda: set(enis(cluster)) == {*homes.values()} - {first})
            assert left(cluster) == "1"

    run_virtually(main())
