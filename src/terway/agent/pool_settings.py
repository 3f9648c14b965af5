"""What is the pool told, given eni-config, the instance type's limits and what the instance is?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.capacity.pods import Tuning, eni_slots, max_enis, rdma_enis
from terway.config.choices import ENISelection, VSwitchSelection
from terway.config.eni_conf import EniConf
from terway.ipam.settings import ENIPolicy, PoolConfig, VSwitchPolicy
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError
from terway.model.ids import InstanceId, SecurityGroupId, VSwitchId, ZoneId

_VSWITCH_POLICY: Mapping[VSwitchSelection, VSwitchPolicy] = {
    VSwitchSelection.RANDOM: VSwitchPolicy.RANDOM,
    VSwitchSelection.ORDERED: VSwitchPolicy.ORDERED,
    VSwitchSelection.MOST: VSwitchPolicy.MOST,
}
_ENI_POLICY: Mapping[ENISelection, ENIPolicy] = {
    ENISelection.MOST_IPS: ENIPolicy.MOST_IPS,
    ENISelection.LEAST_IPS: ENIPolicy.LEAST_IPS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """What the metadata service and the primary ENI say of the instance."""

    instance_id: InstanceId
    zone_id: ZoneId
    vswitch_id: VSwitchId  # of the primary ENI
    security_group_ids: tuple[SecurityGroupId, ...]  # of the primary ENI
    limits: InstanceLimits


def pool_config(conf: EniConf, facts: InstanceFacts, *, token_seed: str) -> PoolConfig:
    """Return the pool's settings.

    Without vSwitches or security groups in eni-config, those of the primary ENI serve.
    Raises UsageError when vSwitches are named, but none for the node's zone.
    """
    limits = facts.limits
    tuning = Tuning(ratio=conf.eni_cap_ratio, shift=conf.eni_cap_shift, max_enis=conf.max_eni)
    enis = max_enis(limits, tuning)
    min_free, max_free = _sizes(conf, limits, enis)
    reclaim = conf.reclaim
    return PoolConfig(
        instance_id=facts.instance_id,
        zone_id=facts.zone_id,
        families=conf.ip_stack.families,
        vswitch_ids=_vswitches(conf, facts),
        security_group_ids=conf.security_group_ids or facts.security_group_ids,
        eni_slots=eni_slots(limits),
        max_enis=enis,
        ipv4_per_eni=limits.eni_private_ip_address_quantity,
        ipv6_per_eni=limits.eni_ipv6_address_quantity,
        min_free=min_free,
        max_free=max_free,
        warm_up=conf.warm_up_size,
        has_prefixes=conf.uses_prefixes,
        ipv4_prefixes=conf.ipv4_prefix_count,
        ipv6_prefixes=conf.ipv6_prefix_count,
        erdma_enis=rdma_enis(limits) if conf.uses_erdma else 0,
        has_trunk=conf.uses_trunk and limits.eni_trunk_supported,
        # Nodes of one account that start at the same moment must not take each other's answers.
        token_seed=f"{facts.instance_id}-{token_seed}",
        vswitch_policy=_VSWITCH_POLICY[conf.vswitch_selection],
        eni_policy=_ENI_POLICY[conf.eni_selection],
        eni_tags=conf.eni_tags,
        tag_filter=conf.eni_tag_filter,
        tag_blocklist=conf.eni_tag_blocklist,
        resource_group_id=conf.resource_group_id,
        cooldown_s=conf.cooldown_s,
        trim_after_s=conf.pool_sync_s,
        reclaim_after_s=reclaim.after_s if reclaim else None,
        reclaim_interval_s=reclaim.interval_s if reclaim else 600.0,
        reclaim_batch=reclaim.batch if reclaim else 5,
        reclaim_jitter=reclaim.jitter if reclaim else 0.1,
        observe_every_s=conf.pool_sync_s,
        rate_limits=tuple((name, float(most)) for name, most in conf.rate_limits_per_min.items()),
    )


def _sizes(conf: EniConf, limits: InstanceLimits, enis: int) -> tuple[int, int]:
    """Return min_free and max_free; `min_eni` ENIs' worth of addresses goes before the first."""
    capacity = enis * limits.eni_private_ip_address_quantity
    at_least = conf.min_eni * limits.eni_private_ip_address_quantity or conf.min_pool_size
    min_free = min(at_least, capacity)
    return min_free, max(min_free, min(conf.max_pool_size, capacity))


def _vswitches(conf: EniConf, facts: InstanceFacts) -> tuple[VSwitchId, ...]:
    if not conf.vswitches:
        return (facts.vswitch_id,)
    found = conf.vswitches.get(facts.zone_id, ())
    if not found:
        zones = ", ".join(conf.vswitches)
        raise UsageError(
            f"eni_conf.vswitches has no vSwitch in zone {facts.zone_id}, where this node is, "
            f"but in {zones}: add one of that zone",
            field="eni_conf.vswitches",
        )
    return found
