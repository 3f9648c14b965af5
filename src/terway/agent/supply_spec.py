"""What does this node want of the control plane? Its part of the Node's spec, from eni-config.

And what the pool itself is told here, where somebody else sees to the supply.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from terway.capacity.pods import rdma_enis
from terway.config.eni_conf import EniConf, Reclaim
from terway.ipam.adopt import HIGH_PERFORMANCE
from terway.ipam.settings import Half, PoolConfig
from terway.kube.crds import (
    DatapathSpec,
    Flavor,
    NodeCap,
    NodeENISpec,
    NodePoolSpec,
)
from terway.kube.crds import Reclaim as ReclaimSpec
from terway.model.address import Family
from terway.model.eni import ENIType, InstanceLimits
from terway.model.interface import Mode

_PLENTY = 1e9  # readings cost nothing here


def supplied(config: PoolConfig) -> PoolConfig:
    """Return what the pool is told where the control plane sees to the supply.

    Which ENIs there are is the control plane's choice, by tags too.
    """
    return replace(
        config,
        half=Half.USE,
        security_group_ids=(),
        tag_filter=(),
        tag_blocklist=(),
        warm_up=0,
        has_trunk=False,
        settle_s=0.0,
        calls_per_s=_PLENTY,
        call_burst=_PLENTY,
        rate_limits=(),
    )


def limits_of(instance_type: str, cap: NodeCap) -> InstanceLimits:
    """Return what the control plane learnt of the instance's type."""
    return InstanceLimits(
        instance_type=instance_type,
        eni_quantity=cap.adapters,
        eni_private_ip_address_quantity=cap.ipv4_per_adapter,
        eni_ipv6_address_quantity=cap.ipv6_per_adapter,
        eni_trunk_supported=cap.member_adapter_limit > 0,
        eni_total_quantity=cap.total_adapters,
        eri_quantity=cap.eri_quantity,
    )


def wanted_spec(
    conf: EniConf, pool: PoolConfig, limits: InstanceLimits, mode: Mode
) -> dict[str, Any]:
    """Return the keys of the Node's spec that are the agent's, each whole.

    `pool` is what the pool would be told on a node that sees to its own supply.
    """
    has_trunk = conf.uses_trunk and limits.eni_trunk_supported
    wanted = {
        "eni": _eni(conf, pool, has_trunk=has_trunk),
        "pool": _pool(conf, pool),
        "flavor": _flavor(conf, pool, limits, has_trunk=has_trunk),
        "datapath": DatapathSpec(type=mode.value),
    }
    found: dict[str, Any] = msgspec.to_builtins(wanted)
    return found


def _eni(conf: EniConf, pool: PoolConfig, *, has_trunk: bool) -> NodeENISpec:
    return NodeENISpec(
        tag=dict(conf.eni_tags),
        tag_filter=dict(conf.eni_tag_filter),
        tag_block_list=dict(conf.eni_tag_blocklist),
        vswitch_options=pool.vswitch_ids,
        security_group_ids=conf.security_group_ids,
        resource_group_id=conf.resource_group_id,
        enable_ipv4=Family.V4 in pool.families,
        enable_ipv6=Family.V6 in pool.families,
        enable_erdma=pool.erdma_enis > 0,
        enable_trunk=has_trunk,
        vswitch_select_policy=pool.vswitch_policy.value,
        enable_ip_prefix=pool.has_prefixes,
        ipv4_prefix_count=pool.ipv4_prefixes,
        ipv6_prefix_count=pool.ipv6_prefixes,
    )


def _pool(conf: EniConf, pool: PoolConfig) -> NodePoolSpec:
    return NodePoolSpec(
        max_pool_size=pool.max_free,
        min_pool_size=pool.min_free,
        pool_sync_period=_duration(conf.pool_sync_s),
        reclaim=_reclaim(conf.reclaim) if conf.reclaim else None,
        warm_up_size=pool.warm_up,
    )


def _reclaim(reclaim: Reclaim) -> ReclaimSpec:
    return ReclaimSpec(
        after=_duration(reclaim.after_s),
        interval=_duration(reclaim.interval_s),
        batch_size=reclaim.batch,
        jitter_factor=f"{reclaim.jitter:g}",
    )


def _duration(seconds: float) -> str:
    return f"{seconds:g}s"


def _flavor(
    conf: EniConf, pool: PoolConfig, limits: InstanceLimits, *, has_trunk: bool
) -> tuple[Flavor, ...]:
    """Return how many ENIs of each kind: a trunk, those for RDMA, the rest ordinary ones."""
    trunk = 1 if has_trunk else 0
    fast = rdma_enis(limits) if conf.uses_erdma else 0
    secondary, standard = ENIType.SECONDARY.value, "Standard"
    counts = (
        (ENIType.TRUNK.value, standard, trunk),
        (secondary, HIGH_PERFORMANCE, fast),
        (secondary, standard, max(0, pool.max_enis - trunk - fast)),
    )
    return tuple(
        Flavor(network_interface_type=kind, network_interface_traffic_mode=mode, count=count)
        for kind, mode, count in counts
        if count
    )
