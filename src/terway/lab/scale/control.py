"""How does the real control plane run in a simulated cluster? Its parts, on in-process edges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import msgspec

from terway.config.keys_controlplane import DegradationLevel
from terway.controlplane.budget import CallBudget
from terway.controlplane.clusterconf import ClusterConf
from terway.controlplane.config import POOL_CONTROLLERS, Config, parse_config
from terway.controlplane.context import Context, Endpoints
from terway.controlplane.informers import SharedInformers
from terway.controlplane.manager import run_controllers
from terway.controlplane.metrics import Metrics
from terway.controlplane.registry import make_parts
from terway.kube.client import KubeClient
from terway.kube.events import EventRecorder
from terway.kube.rate import RateLimit
from terway.lab.kubeapi.inprocess import InProcessKube
from terway.lab.scale.world import REGION, ScaleWorld, monotonic, wall_clock
from terway.model.ids import RegionId


class LimitedKube:
    """A connection whose requests wait for their turn, as `KubeClient.limit` has them wait."""

    def __init__(self, kube: InProcessKube, *, qps: float, burst: int) -> None:
        self._kube = kube
        self._rate = RateLimit(qps=qps, burst=burst, clock=monotonic) if qps else None
        self.watch = kube.watch

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._kube, name)

        async def limited(*args: Any, **options: Any) -> Any:
            if self._rate is not None:
                await self._rate.take()
            return await call(*args, **options)

        return limited


def ctrl_config(world: ScaleWorld, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return ctrl-config as a user of such a cluster writes it."""
    return {
        "regionID": REGION,
        "clusterID": "scale",
        "vpcID": str(world.vpc_id),
        "ipStack": "ipv4",
        "centralizedIPAM": True,
        "leaderElection": False,
        "disableWebhook": True,
        "kubeClientQPS": world.plan.kube_qps,
        "kubeClientBurst": world.plan.kube_burst,
        "rateLimit": {},
        "controllers": list(POOL_CONTROLLERS),
        **(more or {}),
    }


@asynccontextmanager
async def control_plane(world: ScaleWorld, *, seed: str = "1") -> AsyncIterator[Context]:
    """Run the pools' controllers for the time of the block."""
    text = msgspec.json.encode(ctrl_config(world)).decode()
    config, _ = parse_config(text)
    context = _context(world, config, seed)
    parts = make_parts(config.controllers, context)
    async with asyncio.TaskGroup() as tasks:
        loops = (context.informers.run, context.events.run, *parts.loops)
        running = [tasks.create_task(_run(loop)) for loop in loops]
        controllers = run_controllers(
            parts.controllers, context.informers, rng=context.rng, reads=parts.reads
        )
        running.append(tasks.create_task(controllers))
        try:
            yield context
        finally:
            for one in running:
                one.cancel()


async def _run(loop: Any) -> None:
    await loop()


def _context(world: ScaleWorld, config: Config, seed: str) -> Context:
    limited = LimitedKube(world.kube(), qps=config.kube_qps, burst=config.kube_burst)
    client = cast("KubeClient", limited)
    rng = Random(seed)
    return Context(
        config=config,
        client=client,
        informers=SharedInformers(client, rng=rng),
        eni_config=cast("ClusterConf", None),  # of other controllers
        openapi=cast("Any", None),
        endpoints=Endpoints(ecs="", vpc="", slb="", nlb=""),
        cloud=world.ecs(),
        budget=CallBudget(world.plan.call_limits, share=config.call_share, clock=monotonic),
        events=EventRecorder(client, component="terway-controlplane", host="", clock=wall_clock),
        metrics=Metrics(),
        region_id=RegionId(REGION),
        degradation=lambda: DegradationLevel(""),
        clock=wall_clock,
        monotonic=monotonic,
        rng=rng,
        token_seed=seed,
    )
