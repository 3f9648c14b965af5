"""How do these controllers come together? For `registry`, and the webhook's part for `webhook`."""

from __future__ import annotations

from collections.abc import Callable

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
    settings = settings_of(config)
    follow_conf(informers, config.namespace)  # so that it is there before the first round
    calls = Calls(context.cloud, context.budget, clock=context.clock)
    lookout = Lookout(calls)
    vswitches = VSwitches(calls, clock=context.monotonic, ttl_s=config.vswitch_ttl_s)
    room = Room(informers, vswitches, clock=context.monotonic)
    teller = Teller(context.events)
    writes = Writes(context.client, clock=context.clock)
    making = Making(cluster_id=config.cluster_id, ip_stack=config.ip_stack)
    maker = Maker(calls, writes, vswitches, making)
    world = ClusterWorld(informers, context.eni_config.current, vswitches.zones)
    explainer = Explainer(world)
    strays = Strays(context.client, informers, calls, teller)
    sweep = Sweep(informers, calls, strays, cluster_id=config.cluster_id, clock=context.clock)
    missed = Missed(context.client, world, teller, settings=lambda: settings, clock=context.clock)
    remains = Remains(informers, calls, cluster_id=config.cluster_id, clock=context.clock)
    restorer = Restorer(context.client, calls, maker, writes, teller, remains=remains)
    context.metrics.sources.append(missed.metrics)
    networkings, reads = made_alone(
        informers,
        lambda: PodNetworkingController(
            context.client,
            informers,
            vswitches,
            teller,
            clock=context.clock,
            is_announced=context.announced.has,
        ),
    )
    controllers: tuple[Controller, ...] = (
        PodController(
            context.client,
            informers,
            world,
            teller,
            missed=missed,
            restorer=restorer,
            settings=lambda: settings,
            concurrency=config.concurrency.pod,
        ),
        PodENIController(
            context.client,
            informers,
            Doer(context.client, maker, writes, lookout, teller, explainer=explainer),
            writes,
            teller,
            room=room,
            clock=context.clock,
            settings=lambda: settings,
            concurrency=config.concurrency.pod_eni,
        ),
        ENIController(
            context.client,
            informers,
            calls,
            lookout,
            teller,
            room=room,
            explainer=explainer,
            clock=context.monotonic,
            counted=context.counted,
            concurrency=config.concurrency.eni,
        ),
        networkings,
    )
    wanted = tuple(one for one in controllers if one.name in config.controllers)
    return Parts(
        controllers=wanted,
        loops=(lookout.run,),
        late_loops=(sweep.run,),
        reads={networkings.name: reads},
    )
