"""What is a node's pool told to be, given what its agent wrote into the node's resource?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from terway.config.duration import parse_duration
from terway.ipam.adopt import HIGH_PERFORMANCE
from terway.ipam.settings import CREATE_BATCH, Half, PoolConfig, VSwitchPolicy
from terway.kube.crds import Flavor, NodeCap, NodeENISpec, NodePoolSpec, NodeSpec, Reclaim
from terway.model.address import Family
from terway.model.eni import ENIType
from terway.model.ids import InstanceId, SecurityGroupId, VSwitchId, ZoneId

CLUSTER_TAG = "ack.aliyun.com"  # its value is the cluster's id
_NEVER_S = float("inf")
_COALESCE_S = 0.2  # the scheduler places a deployment's pods in so short a time
_SYNC_S = 120.0
_DOUBT_S = 75.0  # a vSwitch is read once a minute for all nodes: see readings.py
_PLENTY = 1e9  # calls: the budget of the whole cluster decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """`degradation`: "l0" stops all cloud calls of pools, "l1" what gives back and full syncs."""

    level: str = ""

    @property
    def may_grow(self) -> bool:
        """Return whether pools may ask for more."""
        return self.level != "l0"

    @property
    def may_shrink(self) -> bool:
        """Return whether pools may give back."""
        return not self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is the same for all nodes of a cluster, or was learnt of one from the cloud."""

    cluster_id: str
    token_seed: str  # differs for every start of the control plane
    degradation: Degradation = Degradation()


def pool_config(
    spec: NodeSpec,
    around: Surroundings,
    primary_groups: tuple[SecurityGroupId, ...],
    *,
    pod_enis: int = 0,
) -> PoolConfig | None:
    """Return the pool's settings; None as long as the agent has not said what it wants.

    `primary_groups` are those of the primary ENI, which serve where the agent names none;
    `pod_enis` are the ENIs of the node that single pods have.
    """
    eni, cap, meta = spec.eni, spec.node_cap, spec.node_metadata
    if eni is None or not meta.instance_id or not cap.adapters:
        return None
    counts = _counts(spec.flavor, cap)
    groups = tuple(map(SecurityGroupId, eni.security_group_ids)) or primary_groups
    pool = spec.pool or NodePoolSpec()
    config = PoolConfig(
        half=Half.SUPPLY,
        instance_id=InstanceId(meta.instance_id),
        zone_id=ZoneId(meta.zone_id),
        families=_families(eni),
        vswitch_ids=tuple(map(VSwitchId, eni.vswitch_options)),
        security_group_ids=groups,
        eni_slots=cap.adapters - 1,
        max_enis=counts.total,
        pod_enis=pod_enis,
        ipv4_per_eni=cap.ipv4_per_adapter,
        ipv6_per_eni=cap.ipv6_per_adapter,
        erdma_enis=counts.erdma,
        has_trunk=counts.trunk > 0,
        min_free=pool.min_pool_size,
        max_free=max(pool.min_pool_size, pool.max_pool_size),
        warm_up=pool.warm_up_size,
        # The calls of all nodes are counted together: an ENI comes with all that it is to have.
        create_batch=CREATE_BATCH,
        has_prefixes=eni.enable_ip_prefix,
        ipv4_prefixes=eni.ipv4_prefix_count,
        ipv6_prefixes=eni.ipv6_prefix_count,
        token_seed=f"{meta.instance_id}-{around.token_seed}",
        vswitch_policy=_policy(eni.vswitch_select_policy),
        eni_tags=(*eni.tag.items(), *_cluster_tags(around)),
        tag_filter=tuple(eni.tag_filter.items()),
        tag_blocklist=tuple(eni.tag_block_list.items()),
        resource_group_id=eni.resource_group_id,
        coalesce_s=_COALESCE_S,
        vswitch_doubt_s=_DOUBT_S,
        trim_after_s=_seconds(pool.pool_sync_period, _SYNC_S),
        # The cloud is read for all nodes together: see readings.py.
        observe_every_s=_NEVER_S,
        orphans_every_s=_NEVER_S,
        calls_per_s=_PLENTY,
        call_burst=_PLENTY,
        may_grow=around.degradation.may_grow,
        may_shrink=around.degradation.may_shrink,
    )
    return config if pool.reclaim is None else _with_reclaim(config, pool.reclaim)


def _with_reclaim(config: PoolConfig, reclaim: Reclaim) -> PoolConfig:
    """Return the settings of a pool that gives back what nobody has wanted for long."""
    return replace(
        config,
        reclaim_after_s=parse_duration(reclaim.after),
        reclaim_interval_s=_seconds(reclaim.interval, config.reclaim_interval_s),
        reclaim_batch=max(1, reclaim.batch_size),
        reclaim_jitter=_fraction(reclaim.jitter_factor),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    total: int
    trunk: int
    erdma: int


def _counts(flavor: tuple[Flavor, ...], cap: NodeCap) -> _Counts:
    """Return how many ENIs of each kind there may be; no more than the instance has slots."""
    trunk = sum(f.count for f in flavor if f.network_interface_type == ENIType.TRUNK.value)
    fast = (f.count for f in flavor if f.network_interface_traffic_mode == HIGH_PERFORMANCE)
    total = sum(one.count for one in flavor) if flavor else cap.adapters - 1
    return _Counts(total=min(total, cap.adapters - 1), trunk=trunk, erdma=sum(fast))


def _families(eni: NodeENISpec) -> tuple[Family, ...]:
    wanted = ((Family.V4, eni.enable_ipv4), (Family.V6, eni.enable_ipv6))
    return tuple(family for family, is_wanted in wanted if is_wanted) or (Family.V4,)


def _cluster_tags(around: Surroundings) -> tuple[tuple[str, str], ...]:
    return ((CLUSTER_TAG, around.cluster_id),) if around.cluster_id else ()


_POLICIES: Mapping[str, VSwitchPolicy] = {one.value: one for one in VSwitchPolicy}


def _policy(text: str) -> VSwitchPolicy:
    return _POLICIES.get(text, VSwitchPolicy.ORDERED)


def _seconds(text: str, otherwise: float) -> float:
    found = parse_duration(text) if text else None
    return otherwise if found is None else found


def _fraction(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.1
