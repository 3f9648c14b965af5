"""The pool with the agent's own client on the emulated cloud: its states, delays and faults."""

from __future__ import annotations

import asyncio

import pytest

from terway.lab.cloud.faults import Fault
from terway.model.attachment import Attachment
from terway.model.errors import CapacityError
from tests.support.emulated_pool import CAPACITY, Node, add, add_all, assert_alike, delete_all
from tests.support.pool_world import owner
from tests.support.virtual_time import run_virtually

CHURN_LIMIT = 20  # calls for 200 pods that come and go


def test_a_node_takes_as_many_pods_as_its_type_holds_and_refuses_the_next():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            pods = await add_all(service, range(CAPACITY))
            with pytest.raises(CapacityError, match=f"all {CAPACITY} addresses"):
                await add(service, 99)

            given = [ip for pod in pods for ip in pod.lease.addresses]
            assert len(set(given)) == 2 * CAPACITY
            assert_alike(node)

    run_virtually(scenario())


@pytest.mark.parametrize("pause_s", [0.0, 5.0, 40.0])
def test_two_hundred_pods_that_come_and_go_cost_at_most_one_call_for_ten(pause_s):
    async def scenario():
        node = Node()
        async with node.agent() as service:
            before = node.cloud.calls.count()
            for wave in range(0, 200, 20):
                await add_all(service, range(wave, wave + 20))
                await delete_all(service, range(wave, wave + 20))
                await asyncio.sleep(pause_s)

            calls = node.cloud.calls.count() - before
            assert calls <= CHURN_LIMIT, node.cloud.calls.counts()

    run_virtually(scenario())


def test_pods_one_after_the_other_cost_no_more():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            before = node.cloud.calls.count()
            for number in range(200):
                await add(service, number)
                await asyncio.sleep(1.0)
                await service.release(owner(number))

            calls = node.cloud.calls.count() - before
            assert calls <= CHURN_LIMIT, node.cloud.calls.counts()

    run_virtually(scenario())


def test_when_all_pods_are_gone_the_pool_goes_back_to_its_size():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await add_all(service, range(30))
            await delete_all(service, range(30))
            await asyncio.sleep(600)

            assert service.status().free <= 2 * 5
            assert_alike(node)

    run_virtually(scenario())


def test_a_restart_asks_the_cloud_for_nothing_new():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            pods = await add_all(service, range(12))
        before = len(node.cloud.calls.mutating)

        async with node.agent() as service:
            again = await add_all(service, range(12))
            await asyncio.sleep(60)

        assert again == pods
        assert len(node.cloud.calls.mutating) == before

    run_virtually(scenario())


FAULTS = [
    Fault(action="CreateNetworkInterface", loses_reply=True),
    Fault(action="CreateNetworkInterface", code="InternalError", status=500, count=2),
    Fault(action="CreateNetworkInterface", code="IdempotentFailed", status=400, burns_token=True),
    Fault(action="AttachNetworkInterface", loses_reply=True),
    Fault(action="AttachNetworkInterface", code="InternalError", status=500, count=2),
    Fault(action="AttachNetworkInterface", code="InvalidOperation.InvalidEniState", status=400),
    Fault(action="AssignPrivateIpAddresses", loses_reply=True),
    Fault(action="AssignPrivateIpAddresses", code="Operation.Conflict", status=400),
    Fault(action="AssignIpv6Addresses", loses_reply=True),
    Fault(action="DescribeNetworkInterfaces", code="ServiceUnavailable", status=503, count=2),
    Fault(action="DescribeVSwitches", code="Throttling.User", status=400, count=2),
    Fault(action="*", code="Throttling", status=400, count=4),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.action}-{f.code or 'lost'}")
def test_whatever_goes_wrong_all_pods_get_addresses_and_nothing_leaks(fault):
    async def scenario():
        node = Node()
        async with node.agent() as service:
            node.cloud.faults.add(fault)
            await add_all(service, range(18))
            await delete_all(service, range(18))
            await asyncio.sleep(1500)

            assert service.attachments() == ()
            assert_alike(node)

    run_virtually(scenario())


def test_a_vswitch_that_runs_out_is_named_to_whoever_asks():
    async def scenario():
        # a /28 has 16 addresses, of which the cloud keeps 4
        node = Node({"max_pool_size": 0}, pod_cidr="192.168.32.0/28")
        async with node.agent() as service:
            outcomes = await asyncio.gather(
                *(add(service, number) for number in range(16)), return_exceptions=True
            )

            served = [one for one in outcomes if isinstance(one, Attachment)]
            refused = [str(one) for one in outcomes if isinstance(one, CapacityError)]
            assert len(served) == 12
            assert len(refused) == 4
            assert "has no free address" in refused[0]

    run_virtually(scenario())
