"""The daemon, put together: what runs, in which order it starts, and in which it stops.

    lock ► journal, kernel, cloud ► restore the pool ► serve ► tell the runtime
                                        └► reconcile, notes, API: beside it, never before it

A pod that runs needs nothing of all this; so stopping touches no pod, and starting is about being
able to answer soon.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from terway.agent.answer import Answerer
from terway.agent.blame import Blame
from terway.agent.devices import DeviceLinks
from terway.agent.ebpf.bringup import Bringup
from terway.agent.ebpf.watchers import Watchers
from terway.agent.enis import ENILinks
from terway.agent.exclusive import ExclusiveNetwork
from terway.agent.follow import ConfigFollower
from terway.agent.guard_watch import GuardWatch
from terway.agent.health import Health
from terway.agent.install import install_conflist, install_plugin
from terway.agent.interfaces import InterfacePolicy
from terway.agent.kube_side import KubeSide
from terway.agent.leftovers import Leftovers
from terway.agent.limits import Limits
from terway.agent.mender import Mender
from terway.agent.metrics import Metrics
from terway.agent.mixed import MixedLinks, MixedNetwork
from terway.agent.moments import read_moment
from terway.agent.mtu import MtuFollower
from terway.agent.network import KernelNetwork
from terway.agent.pages import pages_of
from terway.agent.paths import Paths
from terway.agent.pods import is_same
from terway.agent.policies import Policies
from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.agent.pool_ports import ManagedENI, StorePort
from terway.agent.process_metrics import process_metrics
from terway.agent.readonly import Page, open_readonly
from terway.agent.reconcile import Reconciler
from terway.agent.server import open_server
from terway.agent.settling import Settling
from terway.agent.spool import Spool
from terway.agent.streams import Stream
from terway.agent.supply import Supply
from terway.agent.verbs import Verbs
from terway.agent.watch import KernelWatch
from terway.datapath.ebpf import left_to_the_stack
from terway.datapath.facts import NodeFacts
from terway.datapath.node import desired_node
from terway.ipam.settings import PoolConfig
from terway.linux.foreign import name_of_process
from terway.linux.kernel import Kernel
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.interface import Mode
from terway.model.moment import Moment
from terway.pooling.ports import CloudPort

SPOOL_PERIOD_S = 10.0

_log = structlog.get_logger("terwayd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was decided before the daemon begins: by the configuration and the instance."""

    pool: PoolConfig
    conflist: bytes
    readonly_listen: str
    interfaces: InterfacePolicy
    follows_mtu: bool = False  # of the node's own link
    has_host_peer: bool = True  # pods with an ENI each: whether they have a second leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Where terwayd's times come from. The lab has others, on which time passes at once."""

    moment: Callable[[], Moment] = read_moment
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class _Conntrack:
    """The kernel's connection tracking, as the pool wants it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def delete_entries(self, addresses: Iterable[IPAddress]) -> None:
        """Delete every entry in which one of `addresses` is an end."""
        await self._kernel.forget_connections(tuple(addresses))


class Terwayd:
    """One daemon over its outside. `run` ends when `stop` is set.

    `ready` is set when it serves, `reconciled` when journal and kernel have been compared.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        paths: Paths,
        kernel: Kernel,
        store: StorePort,
        cloud: CloudPort | Supply,
        kube: KubeSide | None,
        facts: NodeFacts,
        stop: asyncio.Event,
        clocks: Clocks = Clocks(),
    ) -> None:
        self._setup = setup
        self._kernel = kernel
        self._facts = facts
        self._paths = paths
        self._kube = kube
        self._config: ConfigFollower | None = None
        self._policies: Policies | None = None
        self.judged: Callable[[], Coroutine[None, None, None]] | None = None
        """Returns when policies are in force; None where none are enforced."""
        self.chores: dict[str, Callable[[], Coroutine[None, None, None]]] = {}  # of others, by name
        self.pages: dict[str, Callable[[], Page]] = {}  # of others, by path
        self.streams: dict[str, Stream] = {}  # of others, by path
        self.watchers: Watchers | None = None  # of the data path in eBPF, where there is one
        self.left_to_stack = left_to_the_stack(facts)  # by that data path
        self.ready = asyncio.Event()
        self._stop = stop
        enis, self.network = self._networking(kernel, facts)
        ports = Ports(cloud=cloud, store=store, links=enis, conntrack=_Conntrack(kernel))
        self.pool = self._pooling(ports, clocks)
        self.verbs = Verbs(
            pool=self.pool,
            network=self.network,
            pods=kube.pods if kube else None,
            clock=clocks.moment,
            policy=setup.interfaces,
        )
        self.metrics = Metrics(self.pool)
        self.answerer = self._answering(clocks)
        self._settling = Settling(kernel, self.network)
        self.reconciler = self._reconciling(enis, clocks)
        self.reconciled = self.reconciler.has_run
        self._keep_whole(enis, clocks)
        self.bringup = self._bringing_up()

    def _bringing_up(self) -> Bringup | None:
        """Return who brings up the data path in eBPF; None where the node has none."""
        datapath = self._kernel.datapath if self._facts.has_datapath else None
        if datapath is None:
            return None
        bringup = Bringup(self._kernel, self.network, datapath)
        self.chores["datapath"] = bringup.run
        self.metrics.sources.append(bringup.metrics)
        return bringup

    def _pooling(self, ports: Ports, clocks: Clocks) -> PoolService:
        return PoolService(
            self._setup.pool,
            ports,
            clock=clocks.monotonic,
            wall_clock=clocks.wall,
            moment=clocks.moment,
            teller=self._kube.warnings if self._kube else None,
        )

    def _reconciling(self, enis: ENILinks, clocks: Clocks) -> Reconciler:
        return Reconciler(
            pool=self.pool,
            network=self.network,
            enis=enis,
            verbs=self.verbs,
            pods=self._kube.pods if self._kube else None,
            now=clocks.monotonic,
            took=self.metrics.observe_look,
        )

    def _answering(self, clocks: Clocks) -> Answerer:
        return Answerer(
            self.verbs,
            spool=Spool(self._paths.spool),
            metrics=self.metrics,
            reporter=self._kube.reporter if self._kube else None,
            clock=clocks.moment,
            now=clocks.monotonic,
        )

    def _keep_whole(self, enis: ENILinks, clocks: Clocks) -> None:
        """Make those who see, mend and tell what is not as it should be."""
        teller = self._kube.warnings if self._kube else None
        self.health = Health(
            state_dir=self._paths.state_dir,
            beat_at=lambda: self.reconciler.beat_at,
            serves=self.ready.is_set,
            could_add=self.verbs.status,
            now=clocks.monotonic,
        )
        blame = Blame(now=clocks.monotonic, name_of=name_of_process)
        mender = Mender(now=clocks.monotonic, blame=blame, teller=teller)
        self.network.mender = mender
        self.metrics.sources += [mender.metrics, self.health.metrics, process_metrics]
        self._watch = KernelWatch(
            enis=enis,
            reconciler=self.reconciler,
            turns=self.verbs.turns,
            blame=blame,
            standing=desired_node(self._facts),
        )
        self._guard_watch = GuardWatch(
            open_bell=self._kernel.open_bell,
            fitter=self.network,
            attachments=self._attachments,
            turns=self.verbs.turns,
        )
        self.leftovers = Leftovers(
            self._paths,
            ground=lambda: self.network.ground,
            links=self._kernel.links,
            teller=teller,
        )

    async def run(self) -> None:
        """Restore, serve until `stop` is set, and let what is being answered finish."""
        await self.restore()
        async with asyncio.TaskGroup() as tasks:
            # The watch is subscribed before the first look.
            watches = (("watch", self._watch.run()), ("guard", self._guard_watch.run()))
            leftovers = ("leftovers", self.leftovers.clean(self.reconciled))
            loops = (*watches, leftovers, *self.loops())
            background = [tasks.create_task(loop, name=name) for name, loop in loops]
            async with AsyncExitStack() as stack:
                own = pages_of(self.pool, self.metrics, self.health, self._config)
                pages = {**own, **self.pages}
                listen = self._setup.readonly_listen
                await stack.enter_async_context(open_readonly(listen, pages, self.streams))
                await stack.enter_async_context(
                    open_server(self._paths.socket, self.answerer.answer)
                )
                self._announce()
                await self._stop.wait()
                self.ready.clear()
            for task in background:
                task.cancel()

    def follow(self, config: ConfigFollower) -> None:
        """Have eni-config followed. To be called before `run`."""
        self._config = config
        self.metrics.sources.append(config.reloader.gauges)

    def enforce(self, policies: Policies) -> None:
        """Have policies enforced. To be called before `run`."""
        self._policies = policies
        self.verbs.gate = policies.gate
        self.chores["policy"] = policies.run
        self.metrics.sources.append(policies.metrics)
        self.pages |= policies.pages()

    async def restore(self) -> None:
        """Make the node forward, and the pool what the journal and the cloud say it is."""
        await self.network.prepare()
        await self.pool.restore()
        if self._policies is not None:
            self._policies.restore(self.pool.attachments())
        if self.bringup is not None:
            await self.bringup.begin(self.pool.attachments())
        await self._settling.settle(self.pool.attachments())

    def loops(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """Yield what runs beside the serving, by name, but for the watch of the real kernel."""
        yield "pool", self.pool.run()
        if self._setup.follows_mtu:
            yield "mtu", self._follow_mtu()
        yield "reconcile", self.reconciler.run()
        yield "settings", self.reconciler.run_settings()
        yield "health", self.health.run()
        yield "proof", self.verbs.proof.run()
        yield "spool", self._work_off()
        for name, begin in self.chores.items():
            yield name, begin()
        if self._config is not None:
            yield "config", self._config.run()
        if self._kube is not None:
            limits = Limits(
                changes=self._kube.changes,
                journal=self.pool,
                network=self.network,
                turns=self.verbs.turns,
                teller=self._kube.warnings,
                is_same=is_same,
                fallback=self._setup.interfaces.bandwidth,
            )
            yield "limits", limits.run()
            yield "kube", self._kube.run(self.pool.status, self.pool.attachments)

    async def _follow_mtu(self) -> None:
        """Take the size of packets from the node's own link, by what gets through it."""
        family = self._facts.families[0]

        def apply(mtu_bytes: int) -> None:
            self.network.set_mtu(mtu_bytes)
            self.reconciler.wake()

        look = partial(self._kernel.path_mtu, family)
        await MtuFollower(self._facts.uplink, look=look, apply=apply).run()

    async def _work_off(self) -> None:
        # A plugin that found nobody may write its note after the first look.
        while True:
            await self.answerer.work_off()
            await asyncio.sleep(SPOOL_PERIOD_S)

    def _announce(self) -> None:
        """Say to the runtime and to probes that there is somebody to answer."""
        install_plugin(self._paths.cni_bin_dir)
        install_conflist(self._paths.conflist, self._setup.conflist)
        self.ready.set()
        _log.info("terwayd.serving", socket=str(self._paths.socket))

    def _networking(self, kernel: Kernel, facts: NodeFacts) -> tuple[ENILinks, KernelNetwork]:
        """Return the two that depend on whether pods share ENIs."""
        if self._setup.interfaces.mode is not Mode.EXCLUSIVE:
            enis = MixedLinks(kernel, facts, self._enis, self._attachments)
            return enis, MixedNetwork(kernel, facts, enis)
        devices = DeviceLinks(kernel, facts, self._enis, self._attachments)
        has_host_peer = self._setup.has_host_peer
        return devices, ExclusiveNetwork(kernel, facts, devices, has_host_peer=has_host_peer)

    def _attachments(self) -> tuple[Attachment, ...]:
        return self.pool.attachments()

    def _enis(self) -> tuple[ManagedENI, ...]:
        return self.pool.enis()
