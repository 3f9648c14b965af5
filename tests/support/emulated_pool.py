"""The agent's pool and client on the emulated cloud, on virtual time: one node, or several."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.agent.pool_settings import InstanceFacts, pool_config
from terway.cloud.ecs import EcsClient
from terway.config.eni_conf import read_eni_conf
from terway.lab.cloud.cloud import Call, Cloud, Reply
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.transitions import Delays
from terway.model.attachment import Attachment
from terway.model.errors import TransientError
from terway.model.ids import InstanceId, MacAddress
from terway.store.memory import Disk, MemoryStore
from tests.support.cloud_world import START, ZONE, make_world
from tests.support.pool_world import EmptyConntrack, owner
from tests.support.virtual_time import virtual_clock

TYPE = "ecs.g7.xlarge"  # 4 ENIs, 15 addresses of each family on each
CAPACITY = 45
SLOW = Delays(attach_s=2.0, detach_s=3.0, answer_s={"CreateNetworkInterface": 0.5})


class LoopTimeCloud:
    """The emulated cloud on the clock of the running loop."""

    def __init__(self, **options: Any) -> None:
        self.at = make_world(instance_type=TYPE, delays=SLOW, **options)
        self.cloud: Cloud = self.at.cloud
        self._start = self.at.clock.now - START
        self.before_call: Callable[[Call], None] = lambda call: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cloud, name)

    def perform(self, call: Call) -> Reply:
        self.follow()
        self.before_call(call)
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
    """An instance of the emulated cloud (of `cloud`), its agent's disk, and agents on it."""

    def __init__(
        self,
        conf: dict[str, object] | None = None,
        *,
        cloud: LoopTimeCloud | None = None,
        instance_id: InstanceId | None = None,
        **options: Any,
    ) -> None:
        self.cloud = cloud or LoopTimeCloud(**options)
        self.instance_id = instance_id or self.cloud.at.instance_id
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
            instance_id=self.instance_id,
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
    async def agent(self, service: PoolService | None = None) -> AsyncIterator[PoolService]:
        service = service or await self.service()
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
