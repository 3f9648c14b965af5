"""What dashboards show of the pool is true right after a restart.

Bug class 59: gauges that are counted up and down begin at zero in a new process, and lie.
"""

from __future__ import annotations

import asyncio

from terway.agent.metrics import gauges_of
from terway.agent.pool import PoolService
from terway.lab.cloud.faults import Fault
from tests.support.emulated_pool import Node, add_all, delete_all
from tests.support.virtual_time import run_virtually

PODS = range(12)


def shown(service: PoolService) -> list[str]:
    """Return the lines of a scrape."""
    return [line for gauge in gauges_of(service.status()) for line in gauge.lines()]


def test_the_pool_is_shown_as_it_was_also_when_the_cloud_does_not_answer():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await add_all(service, PODS)
            before = shown(service)
        again = await node.service()
        node.cloud.faults.add(Fault(code="ServiceUnavailable", status=503, count=1000))

        async with node.agent(again):
            await asyncio.sleep(1)  # the link of the ENI is looked for, which needs no cloud
            assert shown(again) == before
        assert f'terway_resource_pool_allocated_count{{type="LocalIP"}} {2 * len(PODS)}.0' in before

    run_virtually(scenario())


def test_addresses_that_rest_are_shown_as_resting_after_a_restart():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await add_all(service, PODS)
            await delete_all(service, PODS)
            before = service.status().cooling
        again = await node.service()
        await again.restore()

        assert again.status().cooling == before == 2 * len(PODS)

    run_virtually(scenario())
