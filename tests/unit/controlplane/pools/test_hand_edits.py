"""A node's resources that a person deletes: they are there again, and pods keep what they have."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from terway.kube.crds import NODE_RUNTIMES, POOL_NODES
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import Agent, Cluster, add, control_plane, eventually


def test_a_node_resource_that_is_deleted_is_there_again_and_so_is_what_the_agent_says(tmp_path):
    async def main():
        cluster = Cluster()
        instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
        agent = Agent(cluster, tmp_path, instance)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 3)
            found = await asyncio.gather(*(add(service, pod) for pod in pods))
            given = {str(one.lease.addresses.v4) for one in found}
            await eventually(lambda: len(cluster.runtime().get("pods", {})) == 3)
            before = cluster.cloud.secondary_enis()

            cluster.delete(POOL_NODES, "node-1")
            await eventually(lambda: cluster.find(NODE_RUNTIMES, "node-1") is None)

            await eventually(lambda: given <= cluster.addresses())
            await eventually(lambda: len(cluster.runtime().get("pods", {})) == 3)
            await asyncio.sleep(1200)
            assert given <= cluster.addresses()
            assert cluster.cloud.secondary_enis() == before

    run_virtually(main())


@pytest.mark.parametrize("is_led", [True, False], ids=["seen", "control plane away"])
def test_what_the_agent_said_is_said_again_at_once_and_nobody_is_given_a_second_address(
    tmp_path, is_led
):
    async def main():
        cluster = Cluster()
        instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
        agent = Agent(cluster, tmp_path, instance, max_pool_size=0)
        async with AsyncExitStack() as node, AsyncExitStack() as leader:
            await leader.enter_async_context(control_plane(cluster))
            service = await node.enter_async_context(agent.running())
            pods = cluster.schedule("node-1", 3)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            await eventually(lambda: len(cluster.runtime().get("held", {})) == 3)
            await asyncio.sleep(20)
            before, round_ = cluster.cloud.secondary_enis(), cluster.status().get("round", 0)

            if not is_led:
                await leader.aclose()
            cluster.delete(NODE_RUNTIMES, "node-1")
            if not is_led:
                await leader.enter_async_context(control_plane(cluster, seed="2"))

            await eventually(lambda: len(cluster.runtime().get("held", {})) == 3, within_s=1.0)
            await asyncio.sleep(600)
            assert cluster.cloud.secondary_enis() == before
            assert cluster.status().get("round") == round_ + 1

    run_virtually(main())
