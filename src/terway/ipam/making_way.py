"""Which idle ENIs does the pool give up for pods that have whole ones of their own?

Their ENIs take the slots that the pool's take (`PoolConfig.pod_enis`). The scheduler sends such a
pod where it sees a slot, and the pool may take the last one at the same moment: then the pod would
wait for as long as the pool is content. So what is beyond the limit goes at once, as far as it is
idle: nobody has an address of it, and nobody who is expected needs one. What should merely be free
does not keep it. A supplier asks for the addresses first (`ipam.holding`), so nothing is taken that
was just given.
"""

from __future__ import annotations

from terway.ipam.census import staying, take_census
from terway.ipam.demand import ready_pairs
from terway.ipam.fit import serves
from terway.ipam.pool import Pool
from terway.ipam.trim import give_up
from terway.ipam.values import ENIPhase, PoolENI
from terway.model.eni import ENIType
from terway.model.interface import Placement


def make_way(pool: Pool, now: float) -> Pool:
    """Let as many idle ENIs go as single pods lack slots; those first that serve fewest pods."""
    if not pool.config.pod_enis or not pool.config.may_shrink:
        return pool
    for _ in range(_beyond(pool)):
        idle = [eni for eni in staying(pool) if _can_go(pool, eni)]
        if not idle:
            return pool
        census = take_census(pool)
        least = min(idle, key=lambda eni: (census[eni.id].usable_pairs, eni.id))
        pool = give_up(pool, least, now)
    return pool


def _beyond(pool: Pool) -> int:
    """Return how many ENIs the pool has, or is about to have, of which the slots are others'."""
    config = pool.config
    slots = config.eni_slots - pool.foreign_enis - config.pod_enis
    return len(staying(pool)) + len(pool.creates) - slots


def _can_go(pool: Pool, eni: PoolENI) -> bool:
    """Return whether nobody uses `eni`, or is about to. Those for RDMA are no one's reserve."""
    if eni.phase is not ENIPhase.IN_USE or eni.type is not ENIType.SECONDARY:
        return False
    if eni.is_erdma or eni.is_excluded or not take_census(pool)[eni.id].is_idle:
        return False
    return not any(_needs(pool, eni, count, wish) for wish, count in pool.expected.items())


def _needs(pool: Pool, eni: PoolENI, count: int, wish: Placement) -> bool:
    """Return whether the others have too little for `count` pods with `wish`."""
    if not serves(pool.config, eni, wish):
        return False
    census = take_census(pool)
    return ready_pairs(pool, census, wish) - census[eni.id].ready_pairs < count
