"""How do these controllers come together? For `registry`, and the webhook's part for `webhook`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terway.config.eni_conf import EniConf
from terway.controlplane.clusterconf import follow_conf
from terway.controlplane.config import Config
from terway.controlplane.context import Context, Parts
from terway.controlplane.controller import Controller, Informers
from terway.controlplane.podenis.admission import Admission
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.doing import Doer
from terway.controlplane.podenis.eni import ENIController
from terway.controlplane.podenis.explaining import Explainer
from terway.controlplane.podenis.lookout import Lookout
from terway.controlplane.podenis.making import Maker, Making
from terway.controlplane.podenis.missed import Missed
from terway.controlplane.podenis.pod import PodController
from terway.controlplane.podenis.pod_eni import PodENIController
from terway.controlplane.podenis.pod_networking import PodNetworkingController
from terway.controlplane.podenis.remains import Remains
from terway.controlplane.podenis.restoring import Restorer
from terway.controlplane.podenis.room import Room
from terway.controlplane.podenis.security_groups import SecurityGroups
from terway.controlplane.podenis.strays import Strays
from terway.controlplane.podenis.sweep import Sweep
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.podenis.writes import Writes
from terway.controlplane.reads import made_alone
from terway.podeni.settings import FIXED_NAME_KINDS, Settings


def settings_of(config: Config) -> Settings:
    """Return what the configuration says of pods' networks."""
    webhook = config.webhook
    return Settings(
        has_trunk=config.has_trunk,
        injects_resource=webhook is not None and webhook.injects_resource,
        has_every_pod=config.has_every_pod,
        has_whole_nodes=config.centralized,
        has_gates=webhook is not None and webhook.has_gates,
        fixed_kinds=FIXED_NAME_KINDS | config.stateful_kinds,
    )


def make_admission(
    informers: Informers, conf: Callable[[], EniConf | None], config: Config
) -> Admission:
    """Return what answers the webhook; every instance has one, leader or not."""
    settings = settings_of(config)
    return Admission(informers, ClusterWorld(informers, conf), lambda: settings)


def make_pod_controllers(context: Context) -> Parts:
    """Return the controllers `pod`, `pod-eni`, `eni` and `pod-networking` that are asked for."""
    config, informers = context.config, context.informers
    follow_conf(informers, config.namespace)  # so that it is there before the first round
    shared = _share(context)
    networkings, reads = made_alone(informers, lambda: _networkings(shared))
    controllers: tuple[Controller, ...] = (
        _pods(shared),
        _pod_enis(shared),
        _enis(shared),
        networkings,
    )
    strays = Strays(context.client, informers, shared.calls, shared.teller)
    sweep = Sweep(
        informers, shared.calls, strays, cluster_id=config.cluster_id, clock=context.clock
    )
    return Parts(
        controllers=tuple(one for one in controllers if one.name in config.controllers),
        loops=(shared.lookout.run,),
        late_loops=(sweep.run,),
        reads={networkings.name: reads},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What these controllers have in common."""

    context: Context
    settings: Settings
    calls: Calls
    lookout: Lookout
    vswitches: VSwitches
    room: Room
    teller: Teller
    writes: Writes
    maker: Maker
    world: ClusterWorld
    explainer: Explainer


def _share(context: Context) -> _Shared:
    config, informers = context.config, context.informers
    calls = Calls(context.cloud, context.budget, clock=context.clock)
    vswitches = VSwitches(calls, clock=context.monotonic, ttl_s=config.vswitch_ttl_s)
    writes = Writes(context.client, clock=context.clock)
    making = Making(cluster_id=config.cluster_id, ip_stack=config.ip_stack)
    world = ClusterWorld(informers, context.eni_config.current, vswitches.zones)
    return _Shared(
        context=context,
        settings=settings_of(config),
        calls=calls,
        lookout=Lookout(calls),
        vswitches=vswitches,
        room=Room(informers, vswitches, clock=context.monotonic),
        teller=Teller(context.events),
        writes=writes,
        maker=Maker(calls, writes, vswitches, making),
        world=world,
        explainer=Explainer(world, informers),
    )


def _networkings(shared: _Shared) -> PodNetworkingController:
    context, ttl_s = shared.context, shared.context.config.vswitch_ttl_s
    return PodNetworkingController(
        context.client,
        context.informers,
        shared.vswitches,
        SecurityGroups(shared.calls, clock=context.monotonic, ttl_s=ttl_s),
        shared.teller,
        clock=context.clock,
        is_announced=context.announced.has,
    )


def _pods(shared: _Shared) -> PodController:
    context, cluster_id = shared.context, shared.context.config.cluster_id
    missed = Missed(
        context.client,
        shared.world,
        shared.teller,
        settings=lambda: shared.settings,
        clock=context.clock,
    )
    context.metrics.sources.append(missed.metrics)
    restorer = Restorer(
        context.client,
        shared.calls,
        shared.maker,
        shared.writes,
        shared.teller,
        remains=Remains(
            context.informers, shared.calls, cluster_id=cluster_id, clock=context.clock
        ),
        began=context.clock(),
    )
    return PodController(
        context.client,
        context.informers,
        shared.world,
        shared.teller,
        missed=missed,
        restorer=restorer,
        settings=lambda: shared.settings,
        concurrency=context.config.concurrency.pod,
    )


def _pod_enis(shared: _Shared) -> PodENIController:
    context = shared.context
    doer = Doer(
        context.client,
        shared.maker,
        shared.writes,
        shared.lookout,
        shared.teller,
        explainer=shared.explainer,
    )
    return PodENIController(
        context.client,
        context.informers,
        doer,
        shared.writes,
        shared.teller,
        room=shared.room,
        clock=context.clock,
        settings=lambda: shared.settings,
        concurrency=context.config.concurrency.pod_eni,
    )


def _enis(shared: _Shared) -> ENIController:
    context = shared.context
    return ENIController(
        context.client,
        context.informers,
        shared.calls,
        shared.lookout,
        shared.teller,
        room=shared.room,
        explainer=shared.explainer,
        clock=context.monotonic,
        counted=context.counted,
        concurrency=context.config.concurrency.eni,
    )
