"""Which ENI may serve which wish, and what must an ENI be for it?

An ENI is ordinary as long as it is what the configuration asks for now. One that is not - made
for a pod's own wish, or of a vSwitch that is no longer listed - serves only those who ask for
just that, and goes when nobody does.
"""

from __future__ import annotations

from terway.ipam.settings import PoolConfig
from terway.ipam.values import CreateIntent, PoolENI
from terway.model.eni import ENIType
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.interface import Placement

ORDINARY = Placement()


def serves(config: PoolConfig, eni: PoolENI, wish: Placement) -> bool:
    """Return whether a pod with `wish` may have an address of `eni`.

    One that a person attached, or a trunk, is taken as it is by those who wish for nothing.
    """
    if eni.is_erdma is not wish.is_erdma or eni.is_excluded:
        return False
    as_it_is = not eni.is_ours or eni.type is not ENIType.SECONDARY
    is_here = eni.vswitch_id in vswitches_for(config, wish)
    if not is_here and (wish.vswitch_ids or not as_it_is):
        return False
    if as_it_is and not wish.security_group_ids:
        return not eni.own_group_ids
    return _same(groups_of(config, eni), groups_for(config, wish))


def is_ordinary(config: PoolConfig, eni: PoolENI) -> bool:
    """Return whether pods without a wish may have addresses of `eni`."""
    return serves(config, eni, ORDINARY)


def will_serve(config: PoolConfig, intent: CreateIntent, wish: Placement) -> bool:
    """Return whether the ENI that is being created will do for `wish`."""
    return (
        intent.is_erdma is wish.is_erdma
        and intent.vswitch_id in vswitches_for(config, wish)
        and _same(intent.own_group_ids or config.security_group_ids, groups_for(config, wish))
    )


def vswitches_for(config: PoolConfig, wish: Placement) -> tuple[VSwitchId, ...]:
    """Return the vSwitches that an ENI for `wish` may come from."""
    return wish.vswitch_ids or config.vswitch_ids


def groups_for(config: PoolConfig, wish: Placement) -> tuple[SecurityGroupId, ...]:
    """Return the security groups of an ENI for `wish`."""
    return wish.security_group_ids or config.security_group_ids


def groups_of(config: PoolConfig, eni: PoolENI) -> tuple[SecurityGroupId, ...]:
    """Return the security groups that `eni` is in, or will be as soon as the cloud is told.

    Ours follow the configuration, unless a pod asked for their groups.
    """
    if eni.own_group_ids:
        return eni.own_group_ids
    return config.security_group_ids if eni.is_ours else eni.security_group_ids


def has_stale_groups(config: PoolConfig, eni: PoolENI) -> bool:
    """Return whether the cloud shows other security groups than `eni` is to be in."""
    seen, wanted = eni.security_group_ids, groups_of(config, eni)
    return bool(seen) and bool(wanted) and not _same(seen, wanted)


def _same(one: tuple[SecurityGroupId, ...], other: tuple[SecurityGroupId, ...]) -> bool:
    return one == other or set(one) == set(other)
