"""A node's resources that a person deletes: they are there again, and pods keep what they have."""

from __future__ import annotations

import asyncio

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
