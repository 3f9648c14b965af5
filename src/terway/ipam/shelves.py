"""From which ENI, and which prefix of it, does the next address come?

To pack is to fill first what pods use most: the ENI with most pods, in it the fullest prefix. So
what empties can go. Single addresses come before prefixes, the longest-rested first; in a prefix,
the lowest free one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.ipam.census import ENITally, take_census
from terway.ipam.pool import Pool
from terway.ipam.settings import PREFIX_ADDRESSES, ENIPolicy
from terway.ipam.values import AddressPhase, ENIPhase, PoolENI, Prefix, PrefixPhase, Slot
from terway.model.address import Family, family_of
from terway.model.ids import ENIId


class OpenPrefix:
    """A prefix while addresses are taken from it."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.used: set[int] = set()  # offsets
        # In IPv6 the first address is the routers' anycast address (RFC 4291, 2.6.1).
        self._next = 0 if prefix.family is Family.V4 else 1
        self._last = self._next + PREFIX_ADDRESSES[prefix.family] - 1

    def take(self) -> Slot | None:
        """Return the lowest free address, or None."""
        while self._next in self.used:
            self._next += 1
        if self._next > self._last:
            return None
        self.used.add(self._next)
        network = self.prefix.network
        return Slot(
            address=network.network_address + self._next,
            eni_id=self.prefix.eni_id,
            prefix=network,
        )


class Shelf:
    """What one ENI has to give."""

    def __init__(self, eni: PoolENI, families: tuple[Family, ...]) -> None:
        self.eni = eni
        self._singles: dict[Family, list[Slot]] = {family: [] for family in families}
        self._prefixes: dict[Family, list[OpenPrefix]] = {family: [] for family in families}

    def put(self, slot: Slot) -> None:
        """Add a free address. Of a family that pods no longer get, it is of no use."""
        singles = self._singles.get(family_of(slot.address))
        if singles is not None:
            singles.append(slot)

    def open(self, prefix: OpenPrefix) -> None:
        """Add a prefix."""
        prefixes = self._prefixes.get(prefix.prefix.family)
        if prefixes is not None:
            prefixes.append(prefix)

    def sort(self) -> None:
        """Put what is to be given first at the end."""
        for singles in self._singles.values():
            singles.sort(key=lambda s: (s.rests_until, int(s.address)), reverse=True)
        for prefixes in self._prefixes.values():
            prefixes.sort(key=lambda one: (len(one.used), -int(one.prefix.network[0])))

    def take(self) -> tuple[Slot, ...] | None:
        """Return a free address of each family, or None."""
        taken: list[Slot] = []
        for family in self._singles:
            slot = self._take(family)
            if slot is None:
                for one in taken:
                    self._put_back(one)
                return None
            taken.append(slot)
        return tuple(taken)

    def _take(self, family: Family) -> Slot | None:
        if self._singles[family]:
            return self._singles[family].pop()
        prefixes = self._prefixes[family]
        while prefixes:
            slot = prefixes[-1].take()
            if slot is not None:
                return slot
            prefixes.pop()
        return None

    def _put_back(self, slot: Slot) -> None:
        """Let a single address wait for a partner; one of a prefix is free by itself."""
        if slot.prefix is None:
            self.put(slot)


def fill_shelves(pool: Pool, now: float) -> list[Shelf]:
    """Return what the ENIs in use have to give, the ENI to take from first."""
    shelves = {eni.id: Shelf(eni, pool.config.families) for eni in _by_preference(pool)}
    prefixes = {one.prefix.network: one for one in _open_prefixes(pool, now)}
    for slot in pool.slots.values():
        if slot.prefix is not None:
            if slot.prefix in prefixes:
                offset = int(slot.address) - int(slot.prefix.network_address)
                prefixes[slot.prefix].used.add(offset)
        elif slot.phase is AddressPhase.FREE and slot.eni_id in shelves:
            shelves[slot.eni_id].put(slot)
    _open_all(shelves, prefixes.values())
    for shelf in shelves.values():
        shelf.sort()
    return list(shelves.values())


def _open_all(shelves: dict[ENIId, Shelf], prefixes: Iterable[OpenPrefix]) -> None:
    for one in prefixes:
        if one.prefix.eni_id in shelves:
            shelves[one.prefix.eni_id].open(one)


def _open_prefixes(pool: Pool, now: float) -> Iterator[OpenPrefix]:
    for prefix in pool.prefixes.values():
        if prefix.phase is PrefixPhase.VALID and prefix.rests_until <= now:
            yield OpenPrefix(prefix)


def _by_preference(pool: Pool) -> list[PoolENI]:
    census = take_census(pool)
    sign = -1 if pool.config.eni_policy is ENIPolicy.MOST_IPS else 1

    def rank(eni: PoolENI) -> tuple[int, int, str]:
        tally: ENITally = census[eni.id]
        return sign * tally.in_use, sign * tally.usable_pairs, eni.id

    in_use = (eni for eni in pool.enis.values() if eni.phase is ENIPhase.IN_USE)
    return sorted(in_use, key=rank)
