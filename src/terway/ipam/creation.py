"""May another ENI be created, from which vSwitch, and with what?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terway.ipam.choice import NoVSwitch, choose_vswitch
from terway.ipam.fit import groups_for, vswitches_for
from terway.ipam.pool import Pool
from terway.ipam.settings import (
    CREATOR_TAG,
    INSTANCE_TAG,
    INTENT_TAG,
    IPV4_PER_PREFIX,
    PoolConfig,
)
from terway.ipam.stock import is_stale, stock
from terway.ipam.values import CreateIntent, VSwitchState
from terway.model.address import Family
from terway.model.eni import ENIType
from terway.model.ids import ClientToken
from terway.model.interface import Placement

_LOOK_AGAIN_S = 60.0  # for a vSwitch that the cloud did not know
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a new ENI is to bring along, its primary address included."""

    ipv4: int = 1
    ipv6: int = 0
    ipv4_prefixes: int = 0
    ipv6_prefixes: int = 0

    @property
    def has_ipv4_prefixes(self) -> bool:
        """Return whether whole ranges of IPv4 are wanted, which a vSwitch may lack."""
        return self.ipv4_prefixes > 0

    def within(self, available: int) -> Load:
        """Return what of it a vSwitch with `available` addresses can give."""
        prefixes = min(self.ipv4_prefixes, max(1, (available - 1) // IPV4_PER_PREFIX))
        if self.has_ipv4_prefixes:
            return replace(self, ipv4_prefixes=prefixes)
        ipv4 = max(1, min(self.ipv4, available))
        return replace(self, ipv4=ipv4, ipv6=min(self.ipv6, ipv4) if self.ipv4 > 1 else self.ipv6)


def free_eni_slots(pool: Pool, wish: Placement) -> int:
    """Return how many more ENIs may be created now for `wish`.

    ENIs for RDMA have their own slots: neither kind takes those of the other.
    """
    config = pool.config
    kinds = [eni.is_erdma for eni in pool.enis.values()]
    kinds += [intent.is_erdma for intent in pool.creates]
    left_for_erdma = max(0, config.erdma_enis - sum(kinds))
    left = pool.eni_limit - len(kinds)
    return min(left, left_for_erdma) if wish.is_erdma else left - left_for_erdma


def is_create_held(pool: Pool, now: float) -> bool:
    """Return whether creating an ENI was refused not long ago."""
    return pool.create_hold is not None and now < pool.create_hold.until


def create_enis(
    pool: Pool, wish: Placement, load: Load, now: float, *, is_trunk: bool = False
) -> Pool:
    """Add the intent to create an ENI for `wish`, if that is possible now.

    Else the vSwitches may be due to be read.
    """
    if not pool.is_observed:  # ENIs may be attached that nobody told us of
        return pool
    if free_eni_slots(pool, wish) <= 0 or is_create_held(pool, now):
        return pool
    if has_unseen_vswitch(pool, wish, now):
        watch = replace(pool.vswitch_watch, due_at=min(now, pool.vswitch_watch.due_at))
        return pool if watch.is_running else replace(pool, vswitch_watch=watch)
    choice = pick_vswitch(pool, wish, now, draw=pool.tokens_made, by_prefix=load.has_ipv4_prefixes)
    if _needs_fresh_look(pool, wish, choice if isinstance(choice, VSwitchState) else None, now):
        return replace(pool, vswitch_watch=replace(pool.vswitch_watch, due_at=now))
    if not isinstance(choice, VSwitchState):
        return pool
    return _create(pool, wish, choice, load.within(choice.available), is_trunk=is_trunk)


def ensure_trunk(pool: Pool, now: float) -> Pool:
    """Add the intent to create the trunk, where the node is to have one and has none."""
    if not pool.config.has_trunk or any(one.is_trunk for one in pool.creates):
        return pool
    if any(eni.type is ENIType.TRUNK for eni in pool.enis.values()):
        return pool
    families = pool.config.families
    load = Load(ipv4=1, ipv6=1 if Family.V6 in families else 0)
    return create_enis(pool, Placement(), load, now, is_trunk=True)


def has_unseen_vswitch(pool: Pool, wish: Placement, now: float) -> bool:
    """Return whether a vSwitch for `wish` is to be looked up first.

    One that was not there is looked for again seldom; a reading that fails is waited for only
    where nothing else is known.
    """
    ids = vswitches_for(pool.config, wish)
    unknown = [one for one in ids if one not in pool.vswitches]
    if not unknown:
        return False
    watch = pool.vswitch_watch
    if len(unknown) == len(ids) and (watch.is_running or watch.failures):
        return True
    return any(now - pool.vswitches_asked.get(one, _NEVER) > _LOOK_AGAIN_S for one in unknown)


def pick_vswitch(
    pool: Pool, wish: Placement, now: float, *, draw: int, by_prefix: bool
) -> VSwitchState | NoVSwitch:
    """Return the vSwitch that the next ENI for `wish` would come from."""
    return choose_vswitch(
        replace(pool.config, vswitch_ids=vswitches_for(pool.config, wish)),
        stock(pool),
        draw=draw,
        now=now,
        by_prefix=by_prefix,
    )


def _needs_fresh_look(pool: Pool, wish: Placement, choice: VSwitchState | None, now: float) -> bool:
    """Return whether to read the vSwitches before an ENI is created: rare, and one call each.

    A reading that failed is not waited for: old figures are better than none.
    """
    if pool.vswitch_watch.is_running or pool.vswitch_watch.failures:
        return pool.vswitch_watch.is_running
    if choice is not None:
        return is_stale(pool, choice.vswitch.id, now)
    known = (one for one in vswitches_for(pool.config, wish) if one in pool.vswitches)
    return not pool.vswitches_read or any(is_stale(pool, one, now) for one in known)


def _create(
    pool: Pool, wish: Placement, vswitch: VSwitchState, load: Load, *, is_trunk: bool
) -> Pool:
    config = pool.config
    pool, token = pool.new_token()
    intent = CreateIntent(
        token=token,
        vswitch_id=vswitch.vswitch.id,
        security_group_ids=groups_for(config, wish),
        has_own_groups=bool(wish.security_group_ids),
        tags=_tags(config, token),
        resource_group_id=config.resource_group_id,
        ipv4_count=load.ipv4,
        ipv6_count=load.ipv6,
        ipv4_prefixes=load.ipv4_prefixes,
        ipv6_prefixes=load.ipv6_prefixes,
        is_erdma=wish.is_erdma,
        is_trunk=is_trunk,
    )
    return pool.with_intent(intent)


def _tags(config: PoolConfig, token: ClientToken) -> tuple[tuple[str, str], ...]:
    marks = ((INSTANCE_TAG, str(config.instance_id)), (INTENT_TAG, str(token)))
    return (*dict((*config.eni_tags, CREATOR_TAG, *marks)).items(),)
