"""How does the pool come back from the journal?"""

from __future__ import annotations

from dataclasses import replace

from terway.agent.pool_journal import WARM, WallClock
from terway.ipam.matching import PrefixIndex
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.values import (
    AddressPhase,
    AssignIntent,
    CreateIntent,
    ENIPhase,
    Intent,
    PoolENI,
    Prefix,
    PrefixPhase,
    Slot,
    VSwitchState,
)
from terway.model.attachment import Attachment
from terway.model.ids import ENIId, VSwitchId
from terway.store.records import (
    CreateRecord,
    ENIRecord,
    IntentRecord,
    Journal,
    PrefixRecord,
    SlotRecord,
)

# A reading older than the process: everything in the journal may be judged by the first reading.
_LONG_AGO = float("-inf")


def revive(config: PoolConfig, journal: Journal, clock: WallClock, *, now: float) -> Pool:
    """Return the pool that the journal describes, due to look at the cloud.

    Calls that were under way are due again with their tokens; ENIs that were in use have their
    links awaited again. What a lease names is there even if nothing else in the journal is.
    """
    pooled = tuple(one for one in journal.attachments if one.spec.own_eni is None)
    journal = replace(journal, attachments=pooled)
    enis = [_eni(record) for record in journal.enis]
    known = {eni.id for eni in enis}
    enis += _enis_of_leases(journal, known)
    pool = replace(Pool.empty(config, now=now), enis={eni.id: eni for eni in enis})
    pool = replace(pool, is_warm=WARM in journal.marks)
    pool = pool.with_prefixes(
        _prefix(one, config, clock, now) for one in journal.prefixes if one.eni_id in pool.enis
    )
    ranges = PrefixIndex(pool.prefixes)
    pool = pool.with_slots(
        _slot(one, ranges, config, clock, now) for one in journal.slots if one.eni_id in pool.enis
    )
    for vswitch in journal.vswitches:
        state = VSwitchState(vswitch=vswitch, available=0, read_at=_LONG_AGO)
        pool = pool.with_vswitch(state)
    for attachment in journal.attachments:
        pool = pool.with_slots(_bound(pool, ranges, attachment))
    pool = pool.without_slots(
        slot.address
        for slot in pool.slots.values()
        if slot.prefix is not None and slot.phase is AddressPhase.FREE
    )
    for record in journal.intents:
        if isinstance(record, CreateRecord) or record.eni_id in pool.enis:
            pool = pool.with_intent(_intent(record))
    return pool


def _eni(record: ENIRecord) -> PoolENI:
    phase = ENIPhase(record.phase)
    return PoolENI(
        id=record.id,
        mac=record.mac,
        vswitch_id=record.vswitch_id,
        phase=ENIPhase.ATTACHING if phase is ENIPhase.IN_USE else phase,
        is_ours=record.is_ours,
        is_requested=phase is ENIPhase.IN_USE,
        own_group_ids=record.own_group_ids,
        is_erdma=record.is_erdma,
        changed_at=_LONG_AGO,
    )


def _enis_of_leases(journal: Journal, known: set[ENIId]) -> list[PoolENI]:
    """Return ENIs that only attachments name; the first reading of the cloud fills them in."""
    leases = {one.lease.eni_id: one.lease for one in journal.attachments}
    return [
        _eni(
            ENIRecord(
                id=eni_id,
                mac=lease.eni_mac,
                vswitch_id=VSwitchId(""),
                phase=ENIPhase.IN_USE.value,
                is_ours=False,
            )
        )
        for eni_id, lease in leases.items()
        if eni_id not in known
    ]


def _prefix(record: PrefixRecord, config: PoolConfig, clock: WallClock, now: float) -> Prefix:
    return Prefix(
        network=record.network,
        eni_id=record.eni_id,
        phase=PrefixPhase(record.phase),
        rests_until=_rest(record.rests_until, config, clock, now),
    )


def _rest(until: float, config: PoolConfig, clock: WallClock, now: float) -> float:
    # A clock that was set back must not make a rest longer than it ever is.
    return min(clock.monotonic(until), now + config.cooldown_s) if until else 0.0


def _slot(
    record: SlotRecord, ranges: PrefixIndex, config: PoolConfig, clock: WallClock, now: float
) -> Slot:
    # Whether an address that has rested was flushed, too, is not written down: it is again.
    phase = AddressPhase.COOLING if record.rests_until else AddressPhase.FREE
    rests_until = _rest(record.rests_until, config, clock, now)
    return Slot(
        address=record.address,
        eni_id=record.eni_id,
        prefix=ranges.of(record.address),
        phase=AddressPhase.RETIRING if record.is_retiring else phase,
        is_primary=record.is_primary,
        rests_until=rests_until,
    )


def _bound(pool: Pool, ranges: PrefixIndex, attachment: Attachment) -> list[Slot]:
    eni_id = attachment.lease.eni_id
    plain = (
        pool.slots.get(ip, Slot(address=ip, eni_id=eni_id, prefix=ranges.of(ip)))
        for ip in attachment.lease.addresses
    )
    return [replace(s, phase=AddressPhase.BOUND, owner=attachment.key) for s in plain]


def _intent(record: IntentRecord) -> Intent:
    if isinstance(record, CreateRecord):
        return CreateIntent(
            token=record.token,
            vswitch_id=record.vswitch_id,
            security_group_ids=record.security_group_ids,
            tags=record.tags,
            resource_group_id=record.resource_group_id,
            ipv4_count=record.ipv4_count,
            ipv6_count=record.ipv6_count,
            ipv4_prefixes=record.ipv4_prefixes,
            ipv6_prefixes=record.ipv6_prefixes,
            is_erdma=record.is_erdma,
            has_own_groups=record.has_own_groups,
            is_trunk=record.is_trunk,
        )
    return AssignIntent(
        token=record.token,
        eni_id=record.eni_id,
        family=record.family,
        count=record.count,
        is_prefix=record.is_prefix,
    )
