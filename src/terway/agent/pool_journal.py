"""How does the pool reach the journal?

What is durable of a pool is a function of its value; what a step changed of that is one batch.
So no decision has to remember to write something down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import is_
from typing import TypeVar

from terway.ipam.pool import Pool
from terway.ipam.values import (
    AddressPhase,
    CreateIntent,
    Intent,
    PoolENI,
    Prefix,
    Slot,
    VSwitchState,
)
from terway.model.address import IPAddress
from terway.model.ids import ENIId, VSwitchId
from terway.store.records import (
    AssignRecord,
    Batch,
    CreateRecord,
    ENIRecord,
    IntentRecord,
    MarkRecord,
    PrefixRecord,
    SlotRecord,
)

K = TypeVar("K")
V = TypeVar("V")
WARM = MarkRecord(name="warm")


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
    prefixes, gone_prefixes = _changes(before.prefixes, after.prefixes)
    return Batch(
        put=(
            *(_slot_record(s, clock) for s in slots if _slot_differs(before.slots, s)),
            *(_eni_record(e) for e in enis if _eni_differs(before.enis, e)),
            *(_intent_record(one) for one in intents if one.token not in before.intents),
            *(one.vswitch for one in vswitches if _ranges_differ(before.vswitches, one)),
            *(_prefix_record(one, clock) for one in prefixes),
            *((WARM,) if after.is_warm and not before.is_warm else ()),
        ),
        delete_prefixes=gone_prefixes,
        delete_slots=gone_slots,
        delete_enis=gone_enis,
        delete_intents=gone_intents,
    )


def _changes(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[list[V], tuple[K, ...]]:
    """Return the values that are not the same object as before, and the keys that are gone."""
    if before is after:
        return [], ()
    if len(before) == len(after) and all(map(is_, before, after)):
        # The same keys in the same order, as nearly always: hashing each would cost the most.
        pairs = zip(before.values(), after.values(), strict=True)
        return [new for old, new in pairs if new is not old], ()
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


def _prefix_record(prefix: Prefix, clock: WallClock) -> PrefixRecord:
    return PrefixRecord(
        network=prefix.network,
        eni_id=prefix.eni_id,
        phase=prefix.phase.value,
        rests_until=clock.wall(prefix.rests_until) if prefix.rests_until else 0.0,
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
        own_group_ids=eni.own_group_ids,
        is_erdma=eni.is_erdma,
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
            ipv4_prefixes=intent.ipv4_prefixes,
            ipv6_prefixes=intent.ipv6_prefixes,
            is_erdma=intent.is_erdma,
            has_own_groups=intent.has_own_groups,
            is_trunk=intent.is_trunk,
        )
    return AssignRecord(
        token=intent.token,
        eni_id=intent.eni_id,
        family=intent.family,
        count=intent.count,
        is_prefix=intent.is_prefix,
    )
