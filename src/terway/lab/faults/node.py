"""One node of a history: what outlives its terwayd, and who starts that again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import cast

from terway.agent.interfaces import InterfacePolicy
from terway.agent.kube_side import KubeSide
from terway.agent.paths import paths_under
from terway.agent.terwayd import Clocks, Setup, Terwayd
from terway.cloud.ecs import EcsClient
from terway.cni.protocol import Reply, Request
from terway.datapath.facts import NodeFacts
from terway.ipam.settings import PoolConfig
from terway.kube.client import KubeClient
from terway.lab.cloud.inprocess import InProcessCaller
from terway.lab.faults.api import Cluster, LivingApi
from terway.lab.faults.life import Life
from terway.lab.faults.ports import DiskHabits, LivingCaller, LivingKernel, LivingStore, Reach
from terway.lab.faults.record import Record
from terway.linux.kernel import Kernel
from terway.linux.memory import MemoryKernel
from terway.model.address import IPPair
from terway.model.ids import ENIId, MacAddress, NodeName, RegionId
from terway.model.interface import Mode
from terway.model.moment import Moment
from terway.model.network import Route, RoutingRule
from terway.store.memory import Disk
from terway.store.records import StoreError

EPOCH_S = 1_790_000_000.0
RESTART_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all nodes share."""

    caller: InProcessCaller
    region_id: RegionId
    cluster: Cluster
    record: Record
    folder: Path


class Node:
    """A node. `terwayd` is the one that serves now, None while there is none."""

    def __init__(
        self, name: str, config: PoolConfig, mode: Mode, own: IPPair, around: Surroundings
    ) -> None:
        self.name = name
        self.config = config
        self.mode = mode
        self.reach = Reach()
        self.disk = Disk()
        self.habits = DiskHabits()
        self.kernel = MemoryKernel()
        self.clock_ahead_s = 0.0
        self.terwayd: Terwayd | None = None
        self.crashes: list[str] = []  # how lives ended that nobody had killed
        self.starts = 0
        self.paths = paths_under(around.folder / name)
        self.paths.make_folders()
        self.life = Life(lambda: None)
        self._boots = 0
        self._own = own
        self._around = around
        self._main: asyncio.Task[None] | None = None
        self._requests: dict[asyncio.Task[Reply], None] = {}
        self._served = asyncio.Event()
        self._plugged: dict[ENIId, MacAddress] = {}
        self.withheld: set[ENIId] = set()  # ENIs whose links are not there, whatever the cloud says
        self.kernel.plug("eth0", MacAddress("00:16:3e:00:00:01"))

    # The machine.

    def moment(self) -> Moment:
        """Return the present moment, as the node's kernel counts it."""
        return Moment(boot_id=f"boot-{self._boots}", seconds=_now())

    def wall(self) -> float:
        """Return what the node's clock shows."""
        return EPOCH_S + _now() + self.clock_ahead_s

    def plug(self, links: dict[ENIId, tuple[str, MacAddress]]) -> None:
        """Make the node's links those of the ENIs that the cloud has plugged in."""
        wanted = {eni: one for eni, one in links.items() if eni not in self.withheld}
        for eni_id in sorted(self._plugged.keys() - wanted.keys()):
            self.kernel.pull(self._plugged.pop(eni_id))
        for eni_id in sorted(wanted.keys() - self._plugged.keys()):
            name, mac = wanted[eni_id]
            self.kernel.plug(name, mac)
            self._plugged[eni_id] = mac

    @property
    def plugged(self) -> tuple[ENIId, ...]:
        """Return the ENIs whose links are there, in the order of their ids."""
        return tuple(sorted(self._plugged))

    def reboot(self) -> None:
        """Begin anew with an empty kernel."""
        self.life.end()
        self._boots += 1
        self._plugged.clear()
        self.kernel = MemoryKernel()
        self.kernel.plug("eth0", MacAddress("00:16:3e:00:00:01"))

    async def uses_of(self, addresses: tuple[str, ...]) -> list[Route | RoutingRule]:
        """Return the routes and rules of the node that are about these addresses."""
        ends = {ip_network(one) for one in addresses}
        found: list[Route | RoutingRule] = []
        for one in (await self.kernel.read_node()).objects:
            if isinstance(one, Route) and one.destination in ends:
                found.append(one)
            if isinstance(one, RoutingRule) and not ends.isdisjoint((one.source, one.destination)):
                found.append(one)
        return found

    # Its terwayd.

    def configure(self, config: PoolConfig) -> None:
        """Have the pool follow another configuration, in this life and those to come."""
        self.config = config
        if self.terwayd is not None:
            self.terwayd.pool.configure(self._config_of_life())

    async def keep_alive(self) -> None:
        """Start terwayd, and again whenever it ends, until cancelled."""
        while True:
            await self._live()
            await asyncio.sleep(RESTART_S)

    async def _live(self) -> None:
        self.starts += 1
        self.life = Life(self._killed)
        self._around.record.add(self.name, f"terwayd starts, number {self.starts}")
        self._main = asyncio.ensure_future(self._run(self.life))
        try:
            await asyncio.wait((self._main,))
        except asyncio.CancelledError:
            self.life.end()
            await asyncio.wait((self._main,))
            raise
        life, error = self.life, None if self._main.cancelled() else self._main.exception()
        if not life.was_killed:
            self._note_end(error)

    def _note_end(self, error: BaseException | None) -> None:
        """Write down how a life ended by itself: a lost journal is no crash of ours."""
        self._around.record.add(self.name, f"terwayd ended: {error!r}")
        known, unknown = (
            error.split(StoreError)
            if isinstance(error, BaseExceptionGroup)
            else (error, None if isinstance(error, StoreError) else error)
        )
        if unknown is not None or known is None:
            self.crashes.append(f"{self.name}: {_leaf(unknown)!r}")

    def _killed(self) -> None:
        self._around.record.add(self.name, "terwayd is killed")
        self.terwayd = None
        if self._main is not None:
            self._main.cancel()

    async def _run(self, life: Life) -> None:
        terwayd = self._assemble(life)
        try:
            await terwayd.restore()
            async with asyncio.TaskGroup() as tasks:
                for name, loop in terwayd.loops():
                    tasks.create_task(loop, name=name)
                self.terwayd = terwayd
                self._served.set()
        finally:
            life.is_over = True
            if self.terwayd is terwayd:
                self.terwayd = None
            self._served.clear()
            for request in tuple(self._requests):
                request.cancel()

    def _assemble(self, life: Life) -> Terwayd:
        around = self._around
        caller = LivingCaller(around.caller, life, self.reach)
        return Terwayd(
            Setup(
                pool=self._config_of_life(),
                conflist=b"",
                readonly_listen="",
                interfaces=InterfacePolicy(mode=self.mode),
            ),
            paths=self.paths,
            kernel=cast("Kernel", LivingKernel(self.kernel, life)),
            store=LivingStore(self.disk, self.habits, life),
            cloud=EcsClient(caller, region_id=around.region_id, ecs_endpoint="", vpc_endpoint=""),
            kube=KubeSide(
                cast("KubeClient", LivingApi(around.cluster, life, self.reach)),
                NodeName(self.name),
                patches_pods=True,
                cautions=(),
                rng=Random(self.starts),
                clock=self.wall,
            ),
            facts=NodeFacts(addresses=self._own, uplink="eth0", families=self.config.families),
            stop=asyncio.Event(),
            clocks=Clocks(moment=self.moment, monotonic=_now, wall=self.wall),
        )

    def _config_of_life(self) -> PoolConfig:
        return replace(self.config, token_seed=f"{self.config.token_seed}.{self.starts}")

    async def ask(self, request: Request) -> Reply | None:
        """Have terwayd answer; None when there is none, or when it dies over it."""
        if self.terwayd is None:
            return None
        answering = asyncio.ensure_future(self.terwayd.answerer.answer(request))
        self._requests[answering] = None
        try:
            await asyncio.wait((answering,))
        finally:
            del self._requests[answering]
        return None if answering.cancelled() else answering.result()

    async def served(self, timeout_s: float) -> bool:
        """Wait until terwayd serves; return whether it does."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._served.wait()
        except TimeoutError:
            return False
        return True


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()
