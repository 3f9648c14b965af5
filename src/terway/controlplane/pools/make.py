"""What of the control plane is centralized IPAM? Its controllers and loops, put together."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from terway.controlplane.context import Context, Parts
from terway.controlplane.counted import eni_tasks
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.nodes import NodeController
from terway.controlplane.pools.readings import SharedReadings
from terway.controlplane.pools.rounds import Outside, PoolController
from terway.controlplane.pools.settings import Degradation, Surroundings
from terway.controlplane.pools.sync import EVERY_S, FleetSync
from terway.controlplane.reads import made_alone
from terway.controlplane.watched import WATCHED_NODES, WATCHED_PODS
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, POOL_NODES


def make_pools(context: Context) -> Parts:
    """Return the controllers `node`, `multi-ip-node` and `multi-ip-pod`.

    The last is part of `multi-ip-node`, which watches pods itself.
    """
    readings = SharedReadings(
        context.cloud, context.budget, clock=context.monotonic, vpc_id=context.config.vpc_id
    )
    pools, gone = _pools(context, readings), _gone(context, readings)
    _count_tasks(context, pools)
    sync = FleetSync(
        pools,
        readings,
        gone,
        degradation=partial(_degradation, context),
        clock=context.monotonic,
        every_s=min(EVERY_S, context.config.sync_s),
    )
    nodes, reads = made_alone(context.informers, lambda: _nodes(context, gone))
    return Parts(
        controllers=(nodes, pools),
        loops=(readings.run,),
        late_loops=(sync.run,),
        reads={nodes.name: reads},
    )


def _pools(context: Context, readings: SharedReadings) -> PoolController:
    outside = Outside(
        kube=context.client,
        cloud=context.cloud,
        readings=readings,
        budget=context.budget,
        clock=context.monotonic,
        wall_clock=context.clock,
        events=context.events,
        counted=context.counted,
    )
    return PoolController(
        outside,
        context.informers,
        around=partial(_around, context),
        pods=WATCHED_PODS,
        concurrency=context.config.concurrency.multi_ip_node,
    )


def _around(context: Context) -> Surroundings:
    return Surroundings(
        cluster_id=context.config.cluster_id,
        token_seed=context.token_seed,
        degradation=_degradation(context),
    )


def _degradation(context: Context) -> Degradation:
    return Degradation(level=context.degradation().value)


def _gone(context: Context, readings: SharedReadings) -> Gone:
    context.informers.of(POD_ENIS)  # so that they are there before what nobody owns is collected
    return Gone(
        context.client,
        context.cloud,
        readings,
        context.budget,
        cluster_id=context.config.cluster_id,
        owned=partial(_owned, context),
        instances=partial(_instances, context),
        wall_clock=context.clock,
    )


def _nodes(context: Context, gone: Gone) -> NodeController:
    return NodeController(
        context.client,
        context.cloud,
        context.budget,
        context.informers,
        gone=gone,
        nodes=WATCHED_NODES,
        node_labels=context.config.node_labels,
        concurrency=context.config.concurrency.node,
    )


def _count_tasks(context: Context, pools: PoolController) -> None:
    interfaces = context.informers.of(NETWORK_INTERFACES)
    context.metrics.sources.append(
        lambda: eni_tasks((one.pool for one in pools.pools.values()), interfaces.objects.values())
    )


def _owned(context: Context) -> Collection[str]:
    """Return the ENIs that some resource of the cluster names."""
    found = {one.metadata.name for one in context.informers.of(NETWORK_INTERFACES).objects.values()}
    for pod_eni in context.informers.of(POD_ENIS).objects.values():
        found |= {allocation.eni.id for allocation in pod_eni.spec.allocations}
    for node in context.informers.of(POOL_NODES).objects.values():
        found |= node.status.network_interfaces.keys()
    return found


def _instances(context: Context) -> Collection[str]:
    """Return the instances of the nodes that there are."""
    nodes = context.informers.of(POOL_NODES).objects.values()
    return {one.spec.node_metadata.instance_id for one in nodes}
