"""What does a part of the control plane stand on? Edges that are open, and what was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from terway.cloud.ecs import EcsClient
from terway.cloud.openapi import OpenAPI
from terway.config.keys_controlplane import DegradationLevel
from terway.controlplane.announced import Announced
from terway.controlplane.budget import CallBudget
from terway.controlplane.clusterconf import ClusterConf
from terway.controlplane.config import Config
from terway.controlplane.controller import Controller
from terway.controlplane.counted import Counted
from terway.controlplane.informers import Asked, SharedInformers
from terway.controlplane.metrics import Metrics
from terway.kube.client import KubeClient
from terway.kube.events import EventRecorder
from terway.model.ids import RegionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the cloud's products are called."""

    ecs: str
    vpc: str
    slb: str
    nlb: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything from outside. `clock` is seconds since the epoch, `monotonic` only goes forward.

    `cloud` is ECS and VPC; `openapi` calls any product at `endpoints`. Neither waits for its turn:
    `budget` gives that. `token_seed` differs for each start, so that client tokens made from it
    repeat no other call.
    """

    config: Config
    client: KubeClient
    informers: SharedInformers
    eni_config: ClusterConf
    openapi: OpenAPI
    region_id: RegionId
    endpoints: Endpoints
    cloud: EcsClient
    budget: CallBudget
    events: EventRecorder
    metrics: Metrics
    degradation: Callable[[], DegradationLevel]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    rng: Random
    token_seed: str
    announced: Announced = field(default_factory=Announced)
    counted: Counted = field(default_factory=Counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a factory makes: controllers, and loops that run beside them, each until cancelled.

    `late_loops` begin when all that the factory asked for is there: they judge by it what is to
    go. So do controllers, but for those in `reads`, by name, which wait for that alone.
    """

    controllers: tuple[Controller, ...] = ()
    loops: tuple[Callable[[], Awaitable[None]], ...] = ()
    late_loops: tuple[Callable[[], Awaitable[None]], ...] = ()
    reads: Mapping[str, Asked] = field(default_factory=dict)


Factory = Callable[[Context], Parts]
