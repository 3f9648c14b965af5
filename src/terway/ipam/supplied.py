"""What when somebody else sees to it that there are addresses: which does he get back?

Any that is wanted back and free: nobody has it, and its rest is over. What a pod has or what
rests is kept; by and by it is free, or the supplier does without. It is forgotten before the
supplier is told, so no pod can be given it in between.
"""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.pool import Pool
from terway.ipam.values import AddressPhase, PoolENI, PrefixPhase
from terway.model.eni import ENI


def give_back(pool: Pool) -> Pool:
    """Forget what is wanted back and free; a prefix that is wanted back gives no more."""
    if not pool.recalled:
        return pool
    gone = [
        slot.address
        for slot in pool.slots.values()
        if slot.phase is AddressPhase.FREE and slot.address in pool.recalled
    ]
    pool = pool.without_slots(gone) if gone else pool
    return _give_back_prefixes(pool) if pool.prefixes else pool


def _give_back_prefixes(pool: Pool) -> Pool:
    used = {slot.prefix for slot in pool.slots.values()}
    wanted = [one for one in pool.prefixes.values() if one.network in pool.recalled]
    gone = [one.network for one in wanted if one.network not in used]
    drained = (replace(one, phase=PrefixPhase.DRAINING) for one in wanted if one.network in used)
    return pool.with_prefixes(drained).without_prefixes(gone)


def unseen(pool: Pool, known: PoolENI) -> Pool:
    """Return the pool after the supplier no longer shows an ENI: what pods have stays theirs."""
    mine = pool.slots_of(known.id)
    if not any(slot.owner is not None for slot in mine):
        return pool.without_eni(known.id)
    return pool.without_slots(s.address for s in mine if s.phase is AddressPhase.FREE)


def without_recalled(pool: Pool, eni: ENI) -> ENI:
    """Return `eni` without what is wanted back and not known here: it is not to be taken."""
    new = pool.recalled - pool.slots.keys() - pool.prefixes.keys()
    if not new:
        return eni
    return replace(
        eni,
        ipv4=tuple(one for one in eni.ipv4 if one not in new),
        ipv6=tuple(one for one in eni.ipv6 if one not in new),
        ipv4_prefixes=tuple(one for one in eni.ipv4_prefixes if one not in new),
        ipv6_prefixes=tuple(one for one in eni.ipv6_prefixes if one not in new),
    )
