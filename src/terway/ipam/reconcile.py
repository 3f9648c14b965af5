"""What is true, when the cloud shows something else than we believe?

The cloud is right about what exists, as of the moment it was asked; about what we changed since,
and about calls still under way, it says nothing. So an ENI that was touched meanwhile is judged
by the next reading. Every verdict can be reversed by a later reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.ipam.adopt import (
    enter,
    intent_of,
    is_erdma,
    is_managed,
    is_ours,
    slots_for,
    takes_slot,
    with_prefixes_of,
    with_slots_of,
)
from terway.ipam.events import Observed
from terway.ipam.matching import match_prefixes
from terway.ipam.pool import Pool
from terway.ipam.settings import POD_ENI_TAG, PoolConfig
from terway.ipam.supplied import unseen, without_recalled
from terway.ipam.values import AddressPhase, Attempt, ENIPhase, PoolENI
from terway.model.address import IPAddress
from terway.model.eni import ENI, ENIStatus


def observed(pool: Pool, event: Observed, now: float) -> Pool:
    """Take over a reading of the cloud."""
    pool = replace(pool, watch=replace(pool.watch, is_running=False, failures=0))
    pool = replace(pool, recalled=event.recalled, no_supply=event.no_supply)
    seen = {eni.id: eni for eni in event.attached}
    for eni in event.attached:
        pool = _seen(pool, eni, event.asked_at, now)
    for known in tuple(pool.enis.values()):
        if known.id in seen:
            continue
        if pool.config.is_supplied:
            pool = unseen(pool, known)
        elif _is_settled(pool, known, event.asked_at):
            pool = _unseen(pool, known, event, now)
    pool = _collect(pool, event.detached or (), now)
    foreign = sum(_is_foreign(pool, eni) for eni in event.attached)
    pool = replace(pool, foreign_enis=foreign, is_observed=True)
    return _look_at_vswitches(pool, now)


def _is_foreign(pool: Pool, eni: ENI) -> bool:
    """Return whether an ENI has a slot that nobody else counts (`PoolConfig.pod_enis`)."""
    if pool.config.is_supplier and POD_ENI_TAG in eni.tags:
        return False
    return takes_slot(eni) and eni.id not in pool.enis


def _is_settled(pool: Pool, eni: PoolENI, asked_at: float) -> bool:
    """Return whether a reading asked for at `asked_at` can say something about `eni`."""
    touched = eni.attempt.is_running and not eni.is_requested
    recent = eni.changed_at + pool.config.settle_s > asked_at
    return not touched and not recent and not pool.assigns_of(eni.id)


def _seen(pool: Pool, eni: ENI, asked_at: float, now: float) -> Pool:
    known = pool.enis.get(eni.id)
    if known is None:
        return _adopt(pool, eni, now)
    if not _is_settled(pool, known, asked_at):
        return pool
    if not is_managed(pool.config, eni):
        # Somebody excluded it after we took it: let go of it, unless pods live on it.
        has_pods = any(slot.owner for slot in pool.slots_of(eni.id))
        if has_pods:
            return pool.with_eni(replace(known, is_excluded=True))
        return pool.without_eni(eni.id)
    pool = pool.with_eni(_attached(_facts(pool.config, known, eni), eni))
    _, rests_until = _arrival(pool, now)
    shown = without_recalled(pool, eni)
    return match_prefixes(_match_addresses(pool, shown, now), shown, rests_until)


def _adopt(pool: Pool, eni: ENI, now: float) -> Pool:
    """Take an attached ENI. Who had its addresses before is not known, so they rest."""
    attached = eni.status in (ENIStatus.ATTACHING, ENIStatus.IN_USE)
    if not attached or not is_managed(pool.config, eni):
        return pool
    if intent_of(eni) in pool.intents:  # the repeated call will bring it
        return pool
    phase, until = _arrival(pool, now)
    eni = without_recalled(pool, eni)
    pool = pool.with_eni(enter(pool.config, eni, now))
    pool = with_slots_of(pool, eni, phase=phase, rests_until=until)
    return with_prefixes_of(pool, eni, rests_until=until)


def _arrival(pool: Pool, now: float) -> tuple[AddressPhase, float]:
    """Return what an address is that nobody told us of, and until when it rests.

    Whose it was is not known. A supplier need not know it; and what is new after the first
    reading to one who is supplied is fresh, or has rested and was given back by himself.
    """
    config = pool.config
    if config.is_supplier or (config.is_supplied and pool.is_observed):
        return AddressPhase.FREE, 0.0
    return AddressPhase.COOLING, now + config.cooldown_s


def _facts(config: PoolConfig, known: PoolENI, eni: ENI) -> PoolENI:
    """Return what is known of an ENI, with what the cloud says that it is."""
    return replace(
        known,
        mac=eni.mac,
        vswitch_id=eni.vswitch_id,
        type=eni.type,
        is_ours=known.is_ours or is_ours(config, eni),
        is_gone=False,
        is_erdma=is_erdma(eni),
        is_excluded=False,
        security_group_ids=eni.security_group_ids,
    )


def _attached(facts: PoolENI, eni: ENI) -> PoolENI:
    """Return where an ENI is in its life, now that it is seen attached."""
    match facts.phase:
        case ENIPhase.ATTACHING if not facts.is_requested:
            return replace(facts, is_requested=True, attempt=Attempt())
        case ENIPhase.DETACHING if eni.status is ENIStatus.DETACHING:
            # The detach was accepted, only its answer is missing.
            return replace(facts, phase=ENIPhase.DELETING, attempt=Attempt())
        case ENIPhase.DELETING if eni.status is ENIStatus.IN_USE:
            return replace(facts, phase=ENIPhase.DETACHING, attempt=Attempt())
        case _:
            return facts


def _match_addresses(pool: Pool, eni: ENI, now: float) -> Pool:
    phase, until = _arrival(pool, now)
    shown = slots_for(pool.config, eni, phase=phase, rests_until=until)
    there: set[IPAddress] = {*eni.ipv4, *eni.ipv6}
    mine = [slot for slot in pool.slots_of(eni.id) if slot.prefix is None]
    gone = [slot.address for slot in mine if slot.address not in there and slot.owner is None]
    new = [slot for slot in shown if slot.address not in pool.slots]
    bound = [
        replace(slot, is_missing=slot.address not in there)
        for slot in mine
        if slot.owner is not None and slot.is_missing is (slot.address in there)
    ]
    if not (gone or new or bound):
        return pool
    return pool.without_slots(gone).with_slots((*new, *bound))


def _unseen(pool: Pool, known: PoolENI, event: Observed, now: float) -> Pool:
    """Judge an ENI of the pool that is not attached to the instance."""
    has_pods = any(slot.owner for slot in pool.slots_of(known.id))
    fresh = replace(known, attempt=Attempt(), is_requested=False, changed_at=now)
    match known.phase:
        case ENIPhase.ATTACHING | ENIPhase.IN_USE if known.is_gone:
            return pool
        case ENIPhase.ATTACHING:
            return pool.with_eni(replace(fresh, attempt=_undisturbed(known)))
        case ENIPhase.IN_USE if has_pods:
            # Somebody detached it under running pods: attach it again.
            return pool.with_eni(replace(fresh, phase=ENIPhase.ATTACHING))
        case ENIPhase.IN_USE if not known.is_ours:
            return pool.without_eni(known.id)
        case ENIPhase.IN_USE | ENIPhase.DETACHING:
            return pool.with_eni(replace(fresh, phase=ENIPhase.DELETING))
        case ENIPhase.DELETING:
            shown = event.detached is None or any(e.id == known.id for e in event.detached)
            return pool if shown else pool.without_eni(known.id)


def _undisturbed(known: PoolENI) -> Attempt:
    """Return when to attach again: at once if the attach got lost, else as already planned."""
    return Attempt() if known.is_requested else known.attempt


def _collect(pool: Pool, detached: Iterable[ENI], now: float) -> Pool:
    """Delete ENIs that were created for this node and that nobody remembers."""
    for eni in detached:
        unknown = eni.id not in pool.enis and intent_of(eni) not in pool.intents
        if unknown and is_ours(pool.config, eni) and eni.status is ENIStatus.AVAILABLE:
            litter = replace(enter(pool.config, eni, now), phase=ENIPhase.DELETING)
            pool = pool.with_eni(litter)
    return pool


def _look_at_vswitches(pool: Pool, now: float) -> Pool:
    """Have the vSwitches read that the ENIs are in and that nobody told us of."""
    if all(eni.vswitch_id in pool.vswitches for eni in pool.enis.values()):
        return pool
    watch = pool.vswitch_watch
    return replace(pool, vswitch_watch=replace(watch, due_at=min(watch.due_at, now)))


def drop_lost(pool: Pool) -> Pool:
    """Forget ENIs that the cloud does not know, once no pod holds an address of them."""
    lost = [eni.id for eni in pool.enis.values() if eni.is_gone and not pool.slots_of(eni.id)]
    for eni_id in lost:
        pool = pool.without_eni(eni_id)
    return pool
