"""What does the pool show of itself: how it is, and which ENIs it has?"""

from __future__ import annotations

from collections import Counter

from terway.agent.pool_ports import ManagedENI, PoolStatus
from terway.ipam.census import take_census
from terway.ipam.outlook import look_ahead
from terway.ipam.pool import Pool
from terway.ipam.values import PoolENI
from terway.model.address import Family
from terway.model.ids import ENIId


def status_of(pool: Pool, now: float) -> PoolStatus:
    """Return what the pool could do now, and what it holds."""
    outlook = look_ahead(pool, now)
    can_add = outlook.pairs > len(pool.waiting)
    tallies = [t for eni in take_census(pool).values() for t in (eni.v4, eni.v6)]
    return PoolStatus(
        can_add=can_add,
        reason="" if can_add else outlook.reason,
        capacity=pool.config.capacity,
        free=sum(tally.free for tally in tallies),
        bound=sum(tally.bound + tally.missing for tally in tallies),
        cooling=sum(tally.cooling for tally in tallies),
        retiring=sum(tally.retiring for tally in tallies),
        coming=sum(tally.coming for tally in tallies)
        + sum(intent.count(family) for intent in pool.creates for family in Family),
        waiting=len(pool.waiting),
        missing=tuple(slot.address for slot in pool.slots.values() if slot.is_missing),
        enis=dict(Counter(eni.phase for eni in pool.enis.values())),
    )


def managed_enis(pool: Pool) -> tuple[ManagedENI, ...]:
    """Return the ENIs of the pool."""
    return tuple(_managed(pool, eni) for eni in pool.enis.values())


def managed_eni(pool: Pool, eni_id: ENIId) -> ManagedENI | None:
    """Return one ENI of the pool, or None."""
    eni = pool.enis.get(eni_id)
    return None if eni is None else _managed(pool, eni)


def _managed(pool: Pool, eni: PoolENI) -> ManagedENI:
    state = pool.vswitches.get(eni.vswitch_id)
    return ManagedENI(
        id=eni.id,
        mac=eni.mac,
        phase=eni.phase,
        vswitch_id=eni.vswitch_id,
        vswitch=state.vswitch if state is not None else None,
        is_gone=eni.is_gone,
    )
