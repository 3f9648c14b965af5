"""What does a process of the control plane consist of, and in which order does it come up?

CRDs ─► informers of the webhook, the webhook, health, metrics     every instance
             └─► lease ─► controllers, and what they ask for       the leader
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import structlog

from terway.config.choices import IPAMType
from terway.config.keys_map import ENI_CONF
from terway.config.schema import CONFIG_MAP
from terway.controlplane.admitting import open_admission
from terway.controlplane.clusterconf import parse_eni_conf
from terway.controlplane.config import Config, parse_config, read_file, with_pools
from terway.controlplane.context import Context, Factory
from terway.controlplane.edges import COMPONENT, kube_connection, open_context
from terway.controlplane.health import health_app, metrics_app, open_listener
from terway.controlplane.informers import Asked
from terway.controlplane.install import (
    install_definitions,
    keep_definitions,
    read_definitions,
)
from terway.controlplane.leader import Leader
from terway.controlplane.manager import Waits, Worker, gauges_of, run_controllers
from terway.controlplane.metrics import ControllerMetrics, gauge
from terway.controlplane.options import Options
from terway.controlplane.reads import who_waits
from terway.controlplane.registry import FACTORIES, make_parts
from terway.controlplane.reload import FollowedConfig
from terway.kube.client import KubeClient
from terway.kube.resource import CONFIG_MAPS
from terway.model.exposition import Gauge

_log = structlog.get_logger("controlplane")

Loop = Callable[[], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Process:
    """The parts of one process. `unready` says what is missing before it is ready, by part.

    `reads` is what the controllers wait for, by name: none before this process leads.
    """

    context: Context
    leases: KubeClient  # of its own: who must wait for its turn loses the lease
    holder: str
    factories: Mapping[str, Factory]
    loops: list[Loop] = field(default_factory=list)
    unready: list[Callable[[], Sequence[str]]] = field(default_factory=list)
    reads: Mapping[str, Asked] = field(default_factory=dict)

    def missing(self) -> tuple[str, ...]:
        """Return what stands between this process and being ready."""
        return tuple(one for part in self.unready for one in part())

    def waiting(self) -> tuple[str, ...]:
        """Return which controllers wait for what: no reason not to be asked for admission."""
        return who_waits(self.reads)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, or until a part ends with an error."""
        parts = (self.context.informers.run, self.context.events.run, *self.loops, self._lead)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_run(part), name=_name(part)) for part in parts]
            await stop.wait()
            _log.info("controlplane.stopping")
            for task in running:
                task.cancel()

    async def _lead(self) -> None:
        lease, context = self.context.config.lease, self.context
        if lease is None:
            await self._work()
            return
        leader = Leader(
            self.leases,
            lease,
            holder=self.holder,
            clock=context.clock,
            rng=context.rng,
            monotonic=context.monotonic,
        )
        context.client.before_write = context.openapi.before_send = leader.check
        context.metrics.sources.append(lambda: _leading(leader))
        await leader.lead(self._work)

    async def _work(self) -> None:
        """Run the controllers, until cancelled."""
        context, config = self.context, self.context.config
        parts = make_parts(config.controllers, context, factories=self.factories)
        metrics = ControllerMetrics()
        working: list[Worker] = []
        context.metrics.sources += [metrics.metrics, partial(gauges_of, working)]
        self.reads = parts.reads
        async with asyncio.TaskGroup() as tasks:
            for loop in parts.loops:
                tasks.create_task(_run(loop), name=_name(loop))
            await run_controllers(
                parts.controllers,
                context.informers,
                rng=context.rng,
                metrics=metrics,
                waits=Waits(initial_s=config.first_wait_s, maximum_s=config.longest_wait_s),
                started=partial(self._started, working),
                reads=parts.reads,
            )

    def _started(self, working: list[Worker], workers: Sequence[Worker]) -> None:
        working += workers
        _log.info("controlplane.working", controllers=[one.name for one in workers])


async def run(
    options: Options, stop: asyncio.Event, *, factories: Mapping[str, Factory] = FACTORIES
) -> None:
    """Open everything and run until `stop`.

    Raises UsageError for what a person must mend, and whatever ends a part: TransientError where
    the API server or the cloud is away at the start, LeaseLostError where another leads.
    """
    async with AsyncExitStack() as stack:
        process = await open_process(stack, options, factories=factories)
        await process.run(stop)


async def open_process(
    stack: AsyncExitStack, options: Options, *, factories: Mapping[str, Factory] = FACTORIES
) -> Process:
    """Open everything; it is closed with `stack`."""
    text = read_file(options.config)
    config, cautions = parse_config(text)
    for caution in cautions:
        _log.warning("config.caution", field=caution.field, text=caution.text)
    followed = FollowedConfig(options.config, text, config)
    connection = kube_connection(options)
    client, leases = [
        await stack.enter_async_context(KubeClient(connection, user_agent=COMPONENT))
        for _ in range(2)
    ]
    if config.kube_qps:
        client.limit(qps=config.kube_qps, burst=config.kube_burst)
    await install_definitions(leases, read_definitions())
    config = await _with_cluster(leases, config)
    process = Process(
        context=await open_context(stack, options, config, client, followed),
        leases=leases,
        holder=options.holder or f"{socket.gethostname()}_{secrets.token_hex(4)}",
        factories=factories,
        loops=[followed.run, partial(keep_definitions, leases)],
    )
    if config.webhook is not None:
        admitting = await open_admission(stack, process.context, leases, config.webhook)
        process.loops.append(admitting.keeper.run)
        process.unready.append(admitting.missing)
    process.context.metrics.sources.append(process.context.counted.metrics)
    await _serve(stack, process)
    _log.info("controlplane.started", holder=process.holder, controllers=config.controllers)
    return process


async def _with_cluster(client: KubeClient, config: Config) -> Config:
    """Return the configuration with what eni-config has to say to it: `ipam_type: crd`."""
    found = await client.get(CONFIG_MAPS, CONFIG_MAP, namespace=config.namespace)
    if config.centralized or found is None or ENI_CONF not in found.data:
        return config
    is_central = parse_eni_conf(found.data[ENI_CONF]).ipam_type is not IPAMType.NODE
    return with_pools(config) if is_central else config


async def _serve(stack: AsyncExitStack, process: Process) -> None:
    """Open the listeners of health and metrics."""
    config, metrics = process.context.config, process.context.metrics
    for listen, app in (
        (config.healthz_listen, health_app(process.missing, process.waiting)),
        (config.metrics_listen, metrics_app(metrics)),
    ):
        if listen:
            await stack.enter_async_context(open_listener(listen, app))


def _leading(leader: Leader) -> tuple[Gauge, ...]:
    text = "1 on the instance that works"
    return (gauge("leader_election_master_status", text, {(): float(leader.is_leading)}),)


async def _run(loop: Loop) -> None:
    await loop()


def _name(loop: Loop) -> str:
    return getattr(loop, "__qualname__", type(loop).__name__)
