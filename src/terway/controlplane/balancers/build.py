"""How does the controller of Services come together? For `registry`."""

from __future__ import annotations

from terway.cloud.inspect import CloudInspector
from terway.cloud.nlb import NlbClient
from terway.cloud.slb import SlbClient
from terway.cloud.source_groups import SourceGroupClient
from terway.config.eni_conf import EniConf
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.balancers.rounds import Products
from terway.controlplane.balancers.service import ServiceController
from terway.controlplane.balancers.turns import TurnedCaller
from terway.controlplane.clusterconf import follow_conf
from terway.controlplane.config import Config
from terway.controlplane.context import Context, Parts
from terway.loadbalancer.values import Cluster
from terway.model.ids import RegionId


def cluster_of(config: Config, conf: EniConf | None) -> Cluster:
    """Return what all Services have in common: pods' vSwitches are their load balancers', too."""
    vswitches = {} if conf is None else conf.vswitches
    zones = tuple((zone_id, ids[0]) for zone_id, ids in vswitches.items() if ids)
    return Cluster(
        cluster_id=config.cluster_id,
        vpc_id=config.vpc_id,
        vswitch_id=zones[0][1] if zones else None,
        zones=zones,
    )


def make_balancers(context: Context) -> Parts:
    """Return the controller `service`."""
    config, region_id = context.config, RegionId(context.region_id)
    # So that it is there before the first round.
    follow_conf(context.informers, config.namespace)
    caller = TurnedCaller(context.openapi, context.budget)
    endpoints = context.endpoints
    products = Products(
        slb=SlbClient(caller, region_id=region_id, slb_endpoint=endpoints.slb),
        nlb=NlbClient(caller, region_id=region_id, nlb_endpoint=endpoints.nlb),
        sources=SourceGroupClient(caller, region_id=region_id, ecs_endpoint=endpoints.ecs),
    )
    inspector = CloudInspector(
        caller, region_id=region_id, ecs_endpoint=endpoints.ecs, vpc_endpoint=endpoints.vpc
    )
    controller = ServiceController(
        context.client,
        context.informers,
        products,
        Owners(context.informers, inspector, vpc_id=config.vpc_id),
        context.events,
        cluster=lambda: cluster_of(config, context.eni_config.current()),
        clock=context.clock,
        seed=context.token_seed,
    )
    return Parts(controllers=(controller,))
