"""What of the control plane is centralized IPAM? Its controllers and loops, put together."""

from __future__ import annotations

from collections.abc import Collection

from terway.controlplane.context import Context, Parts
from terway.controlplane.counted import eni_tasks
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.nodes import NodeController
from terway.controlplane.pools.readings import SharedReadings
from terway.controlplane.pools.rounds import Outside, PoolController
from terway.controlplane.pools.settings import Degradation, Surroundings
from terway.controlplane.pools.sync import EVERY_S, FleetSync
from terway.controlplane.watched import WATCHED_NODES, WATCHED_PODS
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, POOL_NODES


def make_pools(context: Context) -> Parts:
    """Return the controllers `node`, `multi-ip-node` and `multi-ip-pod`.

    The last is part of `multi-ip-node`, which watches pods itself.
    """
    config = context.config
    readings = SharedReadings(
        context.cloud, context.budget, clock=context.monotonic, vpc_id=config.vpc_id
    )
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

    def degradation() -> Degradation:
        return Degradation(level=context.degradation().value)

    def around() -> Surroundings:
        return Surroundings(
            cluster_id=config.cluster_id,
            token_seed=context.token_seed,
            degradation=degradation(),
        )

    pools = PoolController(
        outside,
        context.informers,
        around=around,
        pods=WATCHED_PODS,
        concurrency=config.concurrency.multi_ip_node,
    )
    gone = Gone(
        context.client,
        context.cloud,
        readings,
        context.budget,
        cluster_id=config.cluster_id,
        owned=lambda: _owned(context),
        instances=lambda: _instances(context),
        wall_clock=context.clock,
    )
    nodes = NodeController(
        context.client,
        context.cloud,
        context.budget,
        context.informers,
        gone=gone,
        nodes=WATCHED_NODES,
        node_labels=config.node_labels,
        concurrency=config.concurrency.node,
    )
    context.informers.of(POD_ENIS)  # so that they are there before the first reading
    interfaces = context.informers.of(NETWORK_INTERFACES)
    context.metrics.sources.append(
        lambda: eni_tasks((one.pool for one in pools.pools.values()), interfaces.objects.values())
    )
    sync = FleetSync(
        pools,
        readings,
        gone,
        degradation=degradation,
        clock=context.monotonic,
        every_s=min(EVERY_S, config.sync_s),
    )
    return Parts(controllers=(nodes, pools), loops=(readings.run, sync.run))


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
