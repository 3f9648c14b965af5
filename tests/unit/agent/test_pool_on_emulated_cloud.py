"""The pool with the agent's own client on the emulated cloud: its states, delays and faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.agent.pool_settings import InstanceFacts, pool_config
from terway.cloud.ecs import EcsClient
from terway.config.eni_conf import read_eni_conf
from terway.lab.cloud.cloud import Call, Cloud, Reply
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.transitions import Delays
from terway.model.attachment import Attachment
from terway.model.errors import CapacityError, TransientError
from terway.model.ids import MacAddress
from terway.store.memory import Disk, MemoryStore
from tests.support.cloud_world import START, ZONE, make_world
from tests.support.pool_world import EmptyConntrack, owner
from tests.support.virtual_time import run_virtually, virtual_clock

TYPE = "ecs.g7.xlarge"  # 4 ENIs, 15 addresses of each family on each
CAPACITY = 45
CHURN_LIMIT = 20  # calls for 200 pods that come and go
SLOW = Delays(attach_s=2.0, detach_s=3.0, answer_s={"CreateNetworkInterface": 0.5})


class LoopTimeCloud:
    """The emulated cloud on the clock of the running loop."""

    def __init__(self, **options: Any) -> None:
        self.at = make_world(instance_type=TYPE, delays=SLOW, **options)
        self.cloud: Cloud = self.at.cloud
        self._start = self.at.clock.now - START

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cloud, name)

    def perform(self, call: Call) -> Reply:
        self.follow()
        return self.cloud.perform(call)

    def follow(self) -> None:
        """Let happen what is due by now."""
        now = START + self._start + virtual_clock()
        self.at.pass_time(max(0.0, now - self.at.clock.now))

    async def wait_eni_ready(self, mac: MacAddress) -> None:
        """Wait for the link, as it comes by hot-plug."""
        for _ in range(100):
            self.follow()
            if any(port.mac == mac for port in self.cloud.vpc_state().ports):
                return
            await asyncio.sleep(0.2)
        raise TransientError(f"no link has MAC {mac} after 20 s")

    def secondary_enis(self) -> dict[str, list[str]]:
        """Return the addresses of the ENIs that are not primary."""
        self.follow()
        enis = self.cloud.world.state.enis.values()
        found = (eni for eni in enis if eni.type.value == "Secondary")
        return {one.id: [str(ip) for ip in (*one.ipv4, *one.ipv6)] for one in found}


class Node:
    """An instance of the emulated cloud, its agent's disk, and agents on it."""

    def __init__(self, conf: dict[str, object] | None = None, **options: Any) -> None:
        self.cloud = LoopTimeCloud(**options)
        self.disk = Disk()
        self.starts = 0
        self._conf = {
            "ip_stack": "dual",
            "max_pool_size": 5,
            "vswitches": {ZONE: [self.cloud.at.pod_vswitch]},
            "security_groups": [self.cloud.at.group],
            **(conf or {}),
        }

    def client(self) -> EcsClient:
        return inprocess_ecs_client(self.cloud, sleep=asyncio.sleep)  # type: ignore[arg-type]

    async def service(self) -> PoolService:
        self.starts += 1
        client = self.client()
        (limits,) = await client.describe_instance_types((TYPE,))
        facts = InstanceFacts(
            instance_id=self.cloud.at.instance_id,
            zone_id=ZONE,
            vswitch_id=self.cloud.at.node_vswitch,
            security_group_ids=(self.cloud.at.group,),
            limits=limits,
        )
        conf, _ = read_eni_conf(self._conf)
        config = pool_config(conf, facts, token_seed=f"boot{self.starts}")
        ports = Ports(
            cloud=client,
            store=MemoryStore(self.disk),
            links=self.cloud,
            conntrack=EmptyConntrack(),
        )
        return PoolService(config, ports, clock=virtual_clock, wall_clock=virtual_clock)

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[PoolService]:
        service = await self.service()
        await service.restore()
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(service.run())
            yield service
            loop.cancel()


async def add(service: PoolService, number: int) -> Attachment:
    async with asyncio.timeout(110):
        return await service.acquire(owner(number), network="terway", netns="/n", pod=None)


async def add_all(service: PoolService, numbers: range) -> list[Attachment]:
    return list(await asyncio.gather(*(add(service, number) for number in numbers)))


async def delete_all(service: PoolService, numbers: range) -> None:
    await asyncio.gather(*(service.release(owner(number)) for number in numbers))


def assert_alike(node: Node) -> None:
    """The cloud's addresses are those of the journal, each once."""
    shown = node.cloud.secondary_enis()
    assert set(shown) == set(node.disk.enis)
    cloud = Counter(ip for addresses in shown.values() for ip in addresses)
    assert cloud == Counter(str(address) for address in node.disk.slots)


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
