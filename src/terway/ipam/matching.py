"""Which prefixes does an ENI have, when the cloud shows others than we believe?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.ipam.adopt import prefixes_for
from terway.ipam.pool import Pool
from terway.ipam.values import Prefix, PrefixPhase
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENI


class PrefixIndex:
    """Finds the prefix that an address is in, if there is one."""

    def __init__(self, prefixes: Iterable[IPNetwork]) -> None:
        self._by_start = {
            (one.version, int(one.network_address) >> _host_bits(one), _host_bits(one)): one
            for one in prefixes
        }
        self._bits = {(one.version, _host_bits(one)) for one in self._by_start.values()}

    def of(self, address: IPAddress) -> IPNetwork | None:
        """Return the prefix, or None."""
        for version, bits in self._bits:
            if version == address.version:
                found = self._by_start.get((version, int(address) >> bits, bits))
                if found is not None:
                    return found
        return None


def _host_bits(network: IPNetwork) -> int:
    return network.max_prefixlen - network.prefixlen


def match_prefixes(pool: Pool, eni: ENI, rests_until: float) -> Pool:
    """Take over the prefixes that a reading shows.

    One that is gone takes its free and resting addresses along; what pods hold of it is missing
    until it is there again. One that is new may have been anybody's, so it rests first.
    """
    shown = prefixes_for(eni, rests_until=rests_until)
    if not shown and not pool.prefixes:
        return pool
    there = {prefix.network for prefix in shown}
    for prefix in pool.prefixes_of(eni.id):
        if prefix.network in there:
            pool = _found(pool, prefix)
        elif prefix.phase is not PrefixPhase.LOST:
            pool = _lost(pool, prefix)
    return pool.with_prefixes(one for one in shown if one.network not in pool.prefixes)


def _lost(pool: Pool, prefix: Prefix) -> Pool:
    mine = [slot for slot in pool.slots.values() if slot.prefix == prefix.network]
    held = [replace(slot, is_missing=True) for slot in mine if slot.owner is not None]
    pool = pool.without_slots(slot.address for slot in mine if slot.owner is None)
    if not held:
        return pool.without_prefixes((prefix.network,))
    return pool.with_slots(held).with_prefixes((replace(prefix, phase=PrefixPhase.LOST),))


def _found(pool: Pool, prefix: Prefix) -> Pool:
    """Return the pool with a prefix that is there; one that was thought lost drains at first."""
    back = [
        replace(slot, is_missing=False)
        for slot in pool.slots.values()
        if slot.prefix == prefix.network and slot.is_missing
    ]
    if back:
        pool = pool.with_slots(back)
    if prefix.phase is PrefixPhase.LOST:
        pool = pool.with_prefixes((replace(prefix, phase=PrefixPhase.DRAINING),))
    return pool
