"""Which ENIs of the instance are the pool's, and how does one enter it?

All but the primary one belong to the pool, those a person attached included, as long as nobody
excludes them by a tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from terway.ipam.pool import Pool
from terway.ipam.settings import (
    CREATOR_TAG,
    INSTANCE_TAG,
    INTENT_TAG,
    POD_ENI_TAG,
    PoolConfig,
)
from terway.ipam.values import AddressPhase, CreateIntent, ENIPhase, PoolENI, Prefix, Slot
from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ClientToken

HIGH_PERFORMANCE = "HighPerformance"  # NetworkInterfaceTrafficMode of an ENI for RDMA
_POOLED_TYPES = (ENIType.SECONDARY, ENIType.TRUNK)


def marker_tags(config: PoolConfig) -> tuple[tuple[str, str], ...]:
    """Return the tags that only ENIs have which were created for this node."""
    return (CREATOR_TAG, (INSTANCE_TAG, str(config.instance_id)))


def is_ours(config: PoolConfig, eni: ENI) -> bool:
    """Return whether `eni` was created for this node by us."""
    return set(marker_tags(config)) <= set(eni.tags)


def intent_of(eni: ENI) -> ClientToken | None:
    """Return the token of the intent that `eni` was created by, where its tags tell it."""
    return next((ClientToken(value) for key, value in eni.tags if key == INTENT_TAG), None)


def takes_slot(eni: ENI) -> bool:
    """Return whether an attached ENI takes one of the slots beside the primary ENI."""
    return eni.type in _POOLED_TYPES


def is_managed(config: PoolConfig, eni: ENI) -> bool:
    """Return whether an attached ENI belongs to the pool.

    Members belong to their trunk, ENIs of PodENIs to their pods, and high-performance ENIs to the
    RDMA controller, unless the pool is to have some. An ENI of ours need not carry the filter's
    tags.
    """
    tags = set(eni.tags)
    if not takes_slot(eni) or POD_ENI_TAG in tags:
        return False
    if is_erdma(eni) and not config.erdma_enis and not is_ours(config, eni):
        return False
    if tags & set(config.tag_blocklist):
        return False
    return is_ours(config, eni) or tags >= set(config.tag_filter)


def is_erdma(eni: ENI) -> bool:
    """Return whether an ENI is for RDMA."""
    return eni.traffic_mode == HIGH_PERFORMANCE


def enter(config: PoolConfig, eni: ENI, now: float, intent: CreateIntent | None = None) -> PoolENI:
    """Return the pool's record of an ENI that is attached, or only just created by `intent`."""
    return PoolENI(
        id=eni.id,
        mac=eni.mac,
        vswitch_id=eni.vswitch_id,
        phase=ENIPhase.ATTACHING,
        type=eni.type,
        is_ours=is_ours(config, eni),
        is_requested=eni.status in (ENIStatus.ATTACHING, ENIStatus.IN_USE),
        is_erdma=is_erdma(eni) or (intent is not None and intent.is_erdma),
        security_group_ids=eni.security_group_ids,
        own_group_ids=() if intent is None else intent.own_group_ids,
        changed_at=now,
    )


def slots_for(
    config: PoolConfig, eni: ENI, *, phase: AddressPhase, rests_until: float = 0.0
) -> Sequence[Slot]:
    """Return the slots of all addresses of `eni` that pods can use.

    Where pods have an ENI each, that is one of each family, whatever others it carries: a second
    pair would give the ENI to a second pod.
    """
    most = 1 if config.pods_per_eni == 1 else None
    ipv4 = sorted(eni.ipv4, key=lambda one: one != eni.primary_ipv4)
    pooled: tuple[IPAddress, ...] = (
        *(ipv4[:most] if Family.V4 in config.families else ()),
        *(eni.ipv6[:most] if Family.V6 in config.families else ()),
    )
    return [
        Slot(
            address=address,
            eni_id=eni.id,
            phase=phase,
            is_primary=address == eni.primary_ipv4,
            rests_until=rests_until,
        )
        for address in pooled
    ]


def with_slots_of(pool: Pool, eni: ENI, *, phase: AddressPhase, rests_until: float = 0.0) -> Pool:
    """Return the pool with the addresses of `eni`, which is new to it.

    When somebody deletes an ENI under a pod, the cloud may give its addresses again, to an ENI of
    the same node. An address that a pod holds stays that pod's, missing, and is nobody else's
    until the pod goes: a later reading brings it in then. One that rests goes on resting.
    """
    found = slots_for(pool.config, eni, phase=phase, rests_until=rests_until)
    return pool.with_slots(
        _resting_on(pool.slots.get(slot.address), slot)
        for slot in found
        if slot.address not in pool.slots or pool.slots[slot.address].owner is None
    )


def with_prefixes_of(pool: Pool, eni: ENI, *, rests_until: float = 0.0) -> Pool:
    """Return the pool with the prefixes of `eni`, which is new to it.

    As with addresses: one that pods hold addresses of is theirs until they go.
    """
    held = {slot.prefix for slot in pool.slots.values() if slot.owner is not None}
    found = prefixes_for(eni, rests_until=rests_until)
    return pool.with_prefixes(one for one in found if one.network not in held)


def _resting_on(before: Slot | None, slot: Slot) -> Slot:
    if before is None or before.phase is not AddressPhase.COOLING:
        return slot
    until = max(before.rests_until, slot.rests_until)
    return replace(slot, phase=AddressPhase.COOLING, rests_until=until)


def prefixes_for(eni: ENI, *, rests_until: float = 0.0) -> Sequence[Prefix]:
    """Return the prefixes of `eni`."""
    networks: tuple[IPNetwork, ...] = (*eni.ipv4_prefixes, *eni.ipv6_prefixes)
    return [Prefix(network=network, eni_id=eni.id, rests_until=rests_until) for network in networks]
