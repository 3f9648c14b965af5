"""The world of one history: cloud, nodes, API server and kubelets, and how events change them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from terway.ipam.settings import PoolConfig
from terway.lab.cloud import provision
from terway.lab.cloud.cloud import Call, Cloud, Reply
from terway.lab.cloud.inprocess import InProcessCaller
from terway.lab.cloud.instance_types import Catalogue, read_catalogue
from terway.lab.cloud.records import ENIRecord
from terway.lab.faults.api import Cluster
from terway.lab.faults.events import Configure
from terway.lab.faults.node import EPOCH_S, Node, Surroundings
from terway.lab.faults.record import Record
from terway.lab.faults.runtime import Runtime, Sandbox
from terway.lab.faults.schedule import Schedule, Shape
from terway.lab.faults.virtual import BOOTED_S
from terway.model.address import Family, IPPair
from terway.model.ids import ENIId, MacAddress, ZoneId
from terway.model.interface import Mode

ZONE = ZoneId("cn-hangzhou-i")


class TimedCloud:
    """The emulated cloud on the loop's clock: what is due happens by itself."""

    def __init__(self, seed: int) -> None:
        self.cloud = Cloud(clock=self.now, seed=seed, types=_catalogue())
        self.world = self.cloud.world
        self.faults = self.cloud.faults
        self._armed_for: float | None = None

    def now(self) -> float:
        """Return seconds since the epoch."""
        return EPOCH_S + asyncio.get_running_loop().time()

    def perform(self, call: Call) -> Reply:
        """Answer a call."""
        reply = self.cloud.perform(call)
        self._arm()
        return reply

    def _arm(self) -> None:
        due = self.cloud.next_due()
        if due is None or (self._armed_for is not None and self._armed_for <= due):
            return
        self._armed_for = due
        asyncio.get_running_loop().call_at(due - EPOCH_S, self._advance)

    def _advance(self) -> None:
        self._armed_for = None
        self.cloud.advance()
        self._arm()


@cache
def _catalogue() -> Catalogue:
    return read_catalogue()


class World:
    """Everything of one history. Made, and used, inside of its loop."""

    def __init__(self, schedule: Schedule, folder: Path, tasks: asyncio.TaskGroup) -> None:
        self.schedule = schedule
        self.record = Record(lambda: asyncio.get_running_loop().time() - BOOTED_S, str(folder))
        self.timed = TimedCloud(schedule.seed)
        self.cloud = self.timed.cloud
        self.cluster = Cluster()
        self.tasks = tasks
        self.errands: set[asyncio.Task[None]] = set()  # what events have begun
        self._around = Surroundings(
            caller=InProcessCaller(self.timed, sleep=asyncio.sleep),  # type: ignore[arg-type]  # has what it needs of a Cloud
            region_id=self.cloud.world.place.region_id,
            cluster=self.cluster,
            record=self.record,
            folder=folder,
        )
        self._ground = _Ground(self.cloud, schedule.shape)
        self.runtimes = [self._make_node(number) for number in range(schedule.shape.nodes)]
        self.given: dict[str, Sandbox] = {}
        for runtime in self.runtimes:
            runtime.given = self.given
        self.cloud.subscribe(self._plug)

    @property
    def nodes(self) -> list[Node]:
        """Return the nodes."""
        return [one.node for one in self.runtimes]

    def _make_node(self, number: int) -> Runtime:
        name = f"node-{number}"
        instance = self._ground.run(self.schedule.shape, name)
        config = _pool_config(self.schedule, self._ground, instance, number)
        own = IPPair(v4=instance.ipv4, v6=instance.ipv6 if self.schedule.shape.dual else None)
        mode = Mode.EXCLUSIVE if self.schedule.shape.exclusive else Mode.VETH
        node = Node(name, config, mode, own, self._around)
        self.cluster.put("nodes", {"metadata": {"name": name, "uid": name}, "spec": {}})
        netns = self._around.folder / name / "netns"
        netns.mkdir()
        return Runtime(
            node=node,
            cluster=self.cluster,
            record=self.record,
            folder=netns,
            elsewhere=self._ground.elsewhere,
        )

    def configured(self, node: Node, change: Configure) -> PoolConfig:
        """Return what a node's pool is to be after a change."""
        prefixes = change.prefixes if node.config.has_prefixes else 0
        most = node.config.capacity if self.schedule.shape.exclusive else change.max_free
        vswitches = (self._ground.pods, self._ground.elsewhere)
        return replace(
            node.config,
            min_free=min(change.min_free, most),
            max_free=min(change.max_free, most),
            ipv4_prefixes=prefixes,
            ipv6_prefixes=prefixes if self.schedule.shape.dual else 0,
            vswitch_ids=vswitches[: change.vswitches],
        )

    def start(self) -> None:
        """Have a terwayd on each node from now on."""
        for node in self.nodes:
            self.tasks.create_task(node.keep_alive(), name=node.name)

    def begin(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do something beside the rest."""
        task = self.tasks.create_task(errand)
        self.errands.add(task)
        task.add_done_callback(self.errands.discard)

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Call `what` after `delay_s` seconds."""
        asyncio.get_running_loop().call_later(delay_s, what)

    def enis_of(self, node: Node) -> list[ENIRecord]:
        """Return the secondary ENIs that are on a node's instance, in the order of their ids."""
        mine = self.cloud.world.state.enis_of(node.config.instance_id)
        return sorted((eni for eni in mine if eni.slot), key=lambda eni: eni.id)

    async def collect_garbage(self) -> None:
        """Have every runtime tell which sandboxes it has."""
        for runtime in self.runtimes:
            await runtime.collect()

    def replug(self) -> None:
        """Make the nodes' links those of the cloud's ENIs."""
        self._plug()

    def _plug(self) -> None:
        links: dict[str, dict[ENIId, tuple[str, MacAddress]]] = {}
        for eni in self.cloud.world.state.enis.values():
            if eni.is_plugged and eni.slot and eni.instance_id is not None:
                links.setdefault(eni.instance_id, {})[eni.id] = f"eth{eni.slot}", eni.mac
        for node in self.nodes:
            node.plug(links.get(node.config.instance_id, {}))


class _Ground:
    """VPC, vSwitches and group: what all nodes stand on."""

    def __init__(self, cloud: Cloud, shape: Shape) -> None:
        self.cloud = cloud
        vpc = provision.create_vpc(cloud, IPv4Network("192.168.0.0/16"))
        self.own = provision.create_vswitch(
            cloud, vpc, IPv4Network("192.168.0.0/24"), zone_id=ZONE, ipv6_number=0
        )
        self.pods = provision.create_vswitch(
            cloud, vpc, IPv4Network(shape.pod_range), zone_id=ZONE, ipv6_number=1
        )
        self.elsewhere = provision.create_vswitch(
            cloud, vpc, IPv4Network("192.168.64.0/24"), zone_id=ZONE, ipv6_number=2
        )
        self.group = provision.create_security_group(cloud, vpc)

    def run(self, shape: Shape, name: str) -> provision.Instance:
        return provision.run_instance(
            self.cloud,
            instance_type=shape.instance_type,
            vswitch_id=self.own,
            security_group_ids=[self.group],
            name=name,
        )


def _pool_config(
    schedule: Schedule, ground: _Ground, instance: provision.Instance, number: int
) -> PoolConfig:
    """Return the pool's settings: its periods shorter than usual, so that histories are short."""
    shape = schedule.shape
    families = (Family.V4, Family.V6) if shape.dual else (Family.V4,)
    per_eni = 1 if shape.exclusive else shape.per_eni
    return PoolConfig(
        instance_id=instance.id,
        zone_id=ZONE,
        families=families,
        vswitch_ids=(ground.pods,),
        security_group_ids=(ground.group,),
        eni_slots=shape.max_enis,
        max_enis=shape.max_enis,
        ipv4_per_eni=per_eni,
        ipv6_per_eni=per_eni,
        min_free=min(shape.min_free, shape.max_enis) if shape.exclusive else shape.min_free,
        max_free=min(shape.max_free, shape.max_enis) if shape.exclusive else shape.max_free,
        has_prefixes=shape.prefixes > 0,
        ipv4_prefixes=shape.prefixes,
        ipv6_prefixes=shape.prefixes if shape.dual else 0,
        token_seed=f"{schedule.seed}.{number}",
        trim_after_s=30.0,
        observe_every_s=30.0,
        orphans_every_s=60.0,
        vswitch_ttl_s=60.0,
        vswitch_hold_s=30.0,
        quota_hold_s=20.0,
    )
