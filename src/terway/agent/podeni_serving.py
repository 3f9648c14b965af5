"""What is there for pods with ENIs of their own? Their PodENIs, and how many the node can have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from terway.agent.device_plugin_choice import Counts, advertise, advertised
from terway.agent.options import Options
from terway.agent.podeni_claims import PodENIs
from terway.agent.podeni_moves import Moves
from terway.agent.pool import PoolService
from terway.agent.pool_ports import ManagedENI
from terway.agent.terwayd import Terwayd
from terway.agent.trunk_note import trunk_of
from terway.capacity.pods import pods_per_eni, rdma_enis
from terway.config.agent_config import AgentConfig
from terway.kube.client import KubeClient
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.eni import InstanceLimits
from terway.model.exposition import Counter
from terway.model.ids import ENIId, InstanceId
from terway.model.interface import Mode


def serve_own_enis(
    terwayd: Terwayd,
    client: KubeClient | None,
    *,
    options: Options,
    config: AgentConfig,
    limits: InstanceLimits,
    instance_id: InstanceId,
    mode: Mode,
    kernel: Kernel,
) -> None:
    """Have pods get what PodENIs say, and the scheduler know how many the node can have.

    Without an API server nobody says either.
    """
    if client is None:
        return
    terwayd.verbs.claims = PodENIs(
        client,
        instance_id=instance_id,
        eni=partial(_find, terwayd.pool),
        is_for_all=mode is Mode.EXCLUSIVE and config.eni.is_centralized,
        is_central=config.eni.is_centralized,
    )
    terwayd.metrics.sources.append(partial(trunk_metrics, kernel))
    if mode is not Mode.EXCLUSIVE:
        moves = Moves(
            client,
            options.node_name,
            journal=terwayd.pool,
            network=terwayd.network,
            kernel=kernel,
            turns=terwayd.verbs.turns,
        )
        terwayd.chores["VLAN ids"] = moves.run
    counts = _counts(terwayd.pool, config, limits, mode)
    if counts:
        terwayd.chores["device plugin"] = partial(
            advertise,
            counts,
            client=client,
            node=options.node_name,
            is_centralized=config.eni.is_centralized,
            has_plugins=config.eni.registers_devices,
        )


def _counts(pool: PoolService, config: AgentConfig, limits: InstanceLimits, mode: Mode) -> Counts:
    """Return what the node advertises.

    How many whole ENIs fit beside a pool, knows who supplies it, and how many pods its ENIs for
    RDMA serve: the control plane tells it where that is the control plane. Without trunks nobody
    is expected to make any whole ENIs.
    """
    has_trunk = config.eni.uses_trunk and limits.eni_trunk_supported
    tells_left = config.eni.uses_trunk and not config.eni.is_centralized
    pooled = partial(_pooled, pool, has_trunk=has_trunk) if tells_left else None
    tells_rdma = config.eni.uses_erdma and not config.eni.is_centralized
    per_eni = pods_per_eni(limits, config.eni.ip_stack)
    rdma_pods = rdma_enis(limits) * per_eni if tells_rdma else 0
    return advertised(limits, mode, has_trunk=has_trunk, pooled=pooled, rdma_pods=rdma_pods)


def _find(pool: PoolService, eni_id: ENIId) -> ManagedENI | None:
    """Return an ENI of the node; of one that came a moment ago, the cloud is asked soon."""
    found = pool.eni(eni_id)
    if found is None:
        pool.observe_soon()
    return found


def _pooled(service: PoolService, *, has_trunk: bool) -> int | None:
    """Return how many ENI slots no single pod can have; None before the trunk has its own.

    What PodENIs gave to pods here is attached, and not the pool's: others' is all beyond that.
    """
    pool = service.pool
    if not pool.is_observed or (has_trunk and not trunk_of(pool)):
        return None
    given = {one.lease.eni_id for one in service.attachments() if _is_whole(one)}
    return len(pool.enis) + max(0, pool.foreign_enis - len(given))


def _is_whole(one: Attachment) -> bool:
    return one.spec.own_eni is not None and one.spec.own_eni.trunk_mac is None


def trunk_metrics(kernel: Kernel) -> Iterator[Counter]:
    """Yield what members of trunks lost on this node; nothing where there were none."""
    losses = kernel.trunk_losses()
    if losses:
        yield Counter(
            name="terway_trunk_lost_frames_total",
            text="frames of a trunk that were for no member here, or not as a member's are",
            values={(("reason", why.name.lower()),): float(losses[why]) for why in losses if why},
        )
