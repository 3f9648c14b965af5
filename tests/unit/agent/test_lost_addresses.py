"""A pod whose address the cloud took away is told, once."""

from __future__ import annotations

import asyncio

from terway.model.address import Family
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import owner
from tests.support.virtual_time import run_virtually
from tests.unit.agent.test_pool_service import POD, Node


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def tell_pod(self, pod, reason, message) -> None:
        self.events.append((str(pod), reason, message))


def test_a_pod_whose_address_was_taken_away_is_told_once():
    async def scenario():
        node = Node(ModelCloud(), families=(Family.V4,))
        told = Told()
        async with node.agent(told) as pool:
            made = [
                await pool.acquire(owner(n), network="n", netns="/n", pod=POD) for n in range(2)
            ]
            lost = next(
                one.lease.addresses.v4
                for one in made
                if one.lease.addresses.v4 != node.cloud.enis[one.lease.eni_id].primary_ipv4
            )
            assert lost is not None
            node.cloud.unassign_ipv4(made[0].lease.eni_id, (lost,))
            for _ in range(3):
                await asyncio.sleep(300)
        assert told.events == [
            (
                str(POD),
                "ResourceInvalid",
                f"{lost} is no longer assigned to this node's ENI: delete the pod",
            )
        ]

    run_virtually(scenario())
