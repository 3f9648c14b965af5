"""Many nodes of one account: an outage, a quota, and everybody at once.

Bug class 8: throttling storms, duplicated readings, a thundering herd when the cloud comes back.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from terway.agent.pool import PoolService
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.provision import run_instance
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from tests.support.emulated_pool import TYPE, LoopTimeCloud, Node, add
from tests.support.pool_world import owner
from tests.support.virtual_time import run_virtually, virtual_clock

NODES = 60
PODS = 3  # of each node
QUOTA = {"*": 60.0}  # calls of each action a minute
OUTAGE_S = 300.0


def nodes_of_one_account() -> list[Node]:
    cloud = LoopTimeCloud()
    at = cloud.at
    made = [
        run_instance(
            at.cloud, instance_type=TYPE, vswitch_id=at.node_vswitch, security_group_ids=[at.group]
        )
        for _ in range(NODES)
    ]
    at.pass_time()
    return [Node({"max_pool_size": 0}, cloud=cloud, instance_id=one.id) for one in made]


async def add_until_served(service: PoolService, number: int) -> Attachment:
    """Ask as a runtime does: when ADD has failed, again a little later."""
    while True:
        try:
            async with asyncio.timeout(100):
                return await service.acquire(owner(number), network="terway", netns="/n", pod=None)
        except (VpcError, TimeoutError):
            await asyncio.sleep(10)


def test_when_the_cloud_comes_back_all_nodes_are_served_and_few_calls_are_refused():
    async def scenario():
        nodes = nodes_of_one_account()
        cloud = nodes[0].cloud
        begun = [(node, await node.service()) for node in nodes]
        cloud.throttle.rates = dict(QUOTA)
        cloud.faults.add(Fault(code="ServiceUnavailable", status=503, count=10**9))
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            # given every node starts within an outage, and has pods that wait
            services = [await stack.enter_async_context(node.agent(one)) for node, one in begun]
            asked = [
                tasks.create_task(add_until_served(service, number))
                for service in services
                for number in range(PODS)
            ]
            await asyncio.sleep(OUTAGE_S)
            assert cloud.calls.count() / NODES < 30, "during the outage"

            # when the cloud answers again
            cloud.faults.clear()
            back_at = virtual_clock()
            with cloud.calls.recording() as calls:
                pods = await asyncio.gather(*asked)

        # then three readings of each node, which the quota spreads over three minutes, are about
        # all that is needed: few calls are refused, and no node makes another's ENI its own
        assert virtual_clock() - back_at < 300
        refused = [one for one in calls.all if one.code]
        assert {one.code for one in refused} <= {"Throttling.User"}
        assert len(refused) < len(calls.all) / 2
        assert calls.count("CreateNetworkInterface", "AttachNetworkInterface") < 2.5 * NODES
        assert len({ip for pod in pods for ip in pod.lease.addresses}) == 2 * NODES * PODS
        assert all(len(node.disk.enis) == 1 for node in nodes)
        assert set(cloud.secondary_enis()) == {eni for node in nodes for eni in node.disk.enis}

    run_virtually(scenario())


def test_nodes_that_start_at_the_same_moment_do_not_take_each_others_enis():
    """Bug class 13: the cloud gives the first answer to whoever repeats a client token."""

    async def scenario():
        one, other = nodes_of_one_account()[:2]
        async with one.agent() as first, other.agent() as second:
            assert (one.starts, other.starts) == (1, 1)  # what the clock said is the same, too
            a, b = await asyncio.gather(add(first, 1), add(second, 1))

        assert a.lease.eni_id != b.lease.eni_id
        assert {call.code for call in one.cloud.calls.all} == {""}

    run_virtually(scenario())
