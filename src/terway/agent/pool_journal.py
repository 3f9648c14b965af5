"""How does the pool reach the journal, and come back from it?

What is durable of a pool is a function of its value; what a step changed of that is one batch.
So no decision has to remember to write something down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.values import (
    AddressPhase,
    AssignIntent,
    CreateIntent,
    ENIPhase,
    Intent,
    PoolENI,
    Slot,
    VSwitchState,
)
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.ids import ENIId, VSwitchId
from terway.store.records import (
    AssignRecord,
    Batch,
    CreateRecord,
    ENIRecord,
    IntentRecord,
    Journal,
    SlotRecord,
)

K = TypeVar("K")
V = TypeVar("V")
# A reading older than the process: everything in the journal may be judged by the first reading.
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock:
    """Turns the pool's monotonic seconds into seconds since the epoch, which outlive a reboot.

    `ahead_s` is how far the epoch's clock was ahead when the process started; a clock that is
    set later does not matter.
    """

    ahead_s: float

    def wall(self, monotonic: float) -> float:
        """Return the time since the epoch."""
        return monotonic + self.ahead_s

    def monotonic(self, wall: float) -> float:
        """Return the monotonic time."""
        return wall - self.ahead_s


def diff_durable(before: Pool, after: Pool, clock: WallClock) -> Batch:
    """Return what must be written for the journal to follow from `before` to `after`."""
    slots, gone_slots = _changes(before.slots, after.slots)
    enis, gone_enis = _changes(before.enis, after.enis)
    intents, gone_intents = _changes(before.intents, after.intents)
    vswitches, _ = _changes(before.vswitches, after.vswitches)
    return Batch(
        put=(
            *(_slot_record(s, clock) for s in slots if _slot_differs(before.slots, s)),
            *(_eni_record(e) for e in enis if _eni_differs(before.enis, e)),
            *(_intent_record(one) for one in intents if one.token not in before.intents),
            *(one.vswitch for one in vswitches if _ranges_differ(before.vswitches, one)),
        ),
        delete_slots=gone_slots,
        delete_enis=gone_enis,
        delete_intents=gone_intents,
    )


def _changes(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[list[V], tuple[K, ...]]:
    """Return the values that are not the same object as before, and the keys that are gone."""
    if before is after:
        return [], ()
    changed = [value for key, value in after.items() if before.get(key) is not value]
    return changed, tuple(key for key in before if key not in after)


def _slot_differs(before: Mapping[IPAddress, Slot], slot: Slot) -> bool:
    old = before.get(slot.address)
    return old is None or _durable_half(old) != _durable_half(slot)


def _durable_half(slot: Slot) -> tuple[object, ...]:
    # Not free or cooling: that follows from the time. Not the owner: the attachment says that.
    return slot.eni_id, slot.is_primary, slot.phase is AddressPhase.RETIRING, slot.rests_until


def _slot_record(slot: Slot, clock: WallClock) -> SlotRecord:
    return SlotRecord(
        address=slot.address,
        eni_id=slot.eni_id,
        is_primary=slot.is_primary,
        is_retiring=slot.phase is AddressPhase.RETIRING,
        rests_until=clock.wall(slot.rests_until) if slot.rests_until else 0.0,
    )


def _eni_differs(before: Mapping[ENIId, PoolENI], eni: PoolENI) -> bool:
    old = before.get(eni.id)
    return old is None or _eni_record(old) != _eni_record(eni)


def _ranges_differ(before: Mapping[VSwitchId, VSwitchState], state: VSwitchState) -> bool:
    """Return whether a vSwitch is other than before; how full it is does not matter."""
    old = before.get(state.vswitch.id)
    count = state.vswitch.available_ip_count
    return old is None or replace(old.vswitch, available_ip_count=count) != state.vswitch


def _eni_record(eni: PoolENI) -> ENIRecord:
    return ENIRecord(
        id=eni.id,
        mac=eni.mac,
        vswitch_id=eni.vswitch_id,
        phase=eni.phase.value,
        is_ours=eni.is_ours,
    )


def _intent_record(intent: Intent) -> IntentRecord:
    if isinstance(intent, CreateIntent):
        return CreateRecord(
            token=intent.token,
            vswitch_id=intent.vswitch_id,
            security_group_ids=intent.security_group_ids,
            tags=intent.tags,
            resource_group_id=intent.resource_group_id,
            ipv4_count=intent.ipv4_count,
            ipv6_count=intent.ipv6_count,
        )
    return AssignRecord(
        token=intent.token, eni_id=intent.eni_id, family=intent.family, count=intent.count
    )


def revive(config: PoolConfig, journal: Journal, clock: WallClock, *, now: float) -> Pool:
    """Return the pool that the journal describes, due to look at the cloud.

    Calls that were under way are due again with their tokens; ENIs that were in use have their
    links awaited again. What a lease names is there even if nothing else in the journal is.
    """
    enis = [_eni(record) for record in journal.enis]
    known = {eni.id for eni in enis}
    enis += _enis_of_leases(journal, known)
    pool = replace(Pool.empty(config, now=now), enis={eni.id: eni for eni in enis})
    pool = pool.with_slots(
        _slot(record, config, clock, now) for record in journal.slots if record.eni_id in pool.enis
    )
    for vswitch in journal.vswitches:
        state = VSwitchState(vswitch=vswitch, available=0, read_at=_LONG_AGO)
        pool = pool.with_vswitch(state)
    for attachment in journal.attachments:
        pool = pool.with_slots(_bound(pool, attachment))
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


def _slot(record: SlotRecord, config: PoolConfig, clock: WallClock, now: float) -> Slot:
    # A clock that was set back must not make a rest longer than it ever is.
    until = min(clock.monotonic(record.rests_until), now + config.cooldown_s)
    rests_until = until if record.rests_until else 0.0
    phase = AddressPhase.COOLING if rests_until > now else AddressPhase.FREE
    return Slot(
        address=record.address,
        eni_id=record.eni_id,
        phase=AddressPhase.RETIRING if record.is_retiring else phase,
        is_primary=record.is_primary,
        rests_until=rests_until,
    )


def _bound(pool: Pool, attachment: Attachment) -> list[Slot]:
    plain = (
        pool.slots.get(address, Slot(address=address, eni_id=attachment.lease.eni_id))
        for address in attachment.lease.addresses
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
        )
    return AssignIntent(
        token=record.token, eni_id=record.eni_id, family=record.family, count=record.count
    )
