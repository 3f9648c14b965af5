"""How many addresses are there, by ENI, family and phase?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from operator import is_

from terway.ipam.pool import Pool
from terway.ipam.settings import PREFIX_ADDRESSES
from terway.ipam.values import AddressPhase, AssignIntent, PoolENI, Prefix, PrefixPhase, Slot
from terway.model.address import Family
from terway.model.ids import ENIId


@dataclass(slots=True)
class Tally:
    """Counts of one family of one ENI. Filled by `take_census` and only read after."""

    free: int = 0
    bound: int = 0
    cooling: int = 0
    retiring: int = 0
    missing: int = 0  # bound, but not in the cloud: takes no room on the ENI
    coming: int = 0  # being assigned
    stranded: int = 0  # of a prefix that gives no more, or the kernel could not be made forget
    room: int = 0  # what counts against the ENI's limit: single addresses and prefixes
    prefixes: int = 0  # that are there and give addresses, or will

    @property
    def ready(self) -> int:
        """Return those that are free, or will be without a new call."""
        return self.free + self.cooling + self.coming

    @property
    def usable(self) -> int:
        """Return those that serve pods, now or soon."""
        return self.ready + self.bound


@dataclass(slots=True)
class ENITally:
    """Counts of one ENI. Pairs are what pods need: an address of each of `families`."""

    families: tuple[Family, ...]
    v4: Tally = field(default_factory=Tally)
    v6: Tally = field(default_factory=Tally)

    def of(self, family: Family) -> Tally:
        """Return the counts of one family."""
        return self.v4 if family is Family.V4 else self.v6

    @property
    def free_pairs(self) -> int:
        """Return how many pods could be given addresses at once."""
        return min(self.of(family).free for family in self.families)

    @property
    def ready_pairs(self) -> int:
        """Return how many pods could be given addresses without a new call."""
        return min(self.of(family).ready for family in self.families)

    @property
    def usable_pairs(self) -> int:
        """Return how many pods have, or could have, addresses of it without a new call."""
        return min(self.of(family).usable for family in self.families)

    @property
    def in_use(self) -> int:
        """Return how many addresses pods hold."""
        return self.v4.bound + self.v6.bound + self.v4.stranded + self.v6.stranded

    @property
    def is_idle(self) -> bool:
        """Return whether every address of it is free, and nothing is under way."""
        return not any(
            t.bound + t.cooling + t.retiring + t.missing + t.coming + t.stranded
            for t in (self.v4, self.v6)
        )


Counted = tuple[object, ...]
_last: tuple[Counted, Mapping[ENIId, ENITally]] | None = None


def take_census(pool: Pool) -> Mapping[ENIId, ENITally]:
    """Return the counts of every ENI of the pool.

    A step asks several times of a pool whose addresses have not changed in between, so the last
    answer is kept.
    """
    global _last  # noqa: PLW0603 - a memo of a pure function
    counted = _counted(pool)
    if _last is None or not all(map(is_, _last[0], counted)):
        _last = counted, _count_all(pool)
    return _last[1]


def _counted(pool: Pool) -> Counted:
    """Return all of the pool that the counts depend on. None of it is ever changed in place."""
    return pool.slots, pool.enis, pool.prefixes, pool.intents, pool.config, pool.flush_held


def _count_all(pool: Pool) -> Mapping[ENIId, ENITally]:
    families = pool.config.families
    tallies = {eni_id: ENITally(families=families) for eni_id in pool.enis}
    for slot in pool.slots.values():
        tally = tallies[slot.eni_id]
        of_family = tally.v4 if isinstance(slot.address, IPv4Address) else tally.v6
        if slot.prefix is None:
            _count(of_family, slot, pool.flush_held)
        else:
            _count_inner(of_family, slot, pool.prefixes.get(slot.prefix))
    for prefix in pool.prefixes.values():
        _count_prefix(tallies[prefix.eni_id].of(prefix.family), prefix)
    for intent in pool.intents.values():
        if isinstance(intent, AssignIntent):
            _count_coming(tallies[intent.eni_id].of(intent.family), intent)
    return tallies


def _count(tally: Tally, slot: Slot, flush_held: bool) -> None:
    if slot.is_missing:
        tally.missing += 1
        return
    tally.room += 1
    if slot.phase is AddressPhase.BOUND:
        tally.bound += 1
    elif slot.phase is AddressPhase.FREE:
        tally.free += 1
    elif slot.phase is AddressPhase.COOLING and flush_held:
        tally.stranded += 1
    elif slot.phase is AddressPhase.COOLING:
        tally.cooling += 1
    else:
        tally.retiring += 1


def _count_inner(tally: Tally, slot: Slot, prefix: Prefix | None) -> None:
    """Count an address of a prefix, which `_count_prefix` counts as free."""
    if slot.is_missing:
        tally.missing += 1
    elif prefix is None or prefix.phase is not PrefixPhase.VALID:
        tally.stranded += 1
    elif slot.phase is AddressPhase.BOUND:
        tally.bound += 1
        tally.free -= 1
    else:
        tally.cooling += 1
        tally.free -= 1


def _count_prefix(tally: Tally, prefix: Prefix) -> None:
    if prefix.phase is PrefixPhase.LOST:
        return
    tally.room += 1
    if prefix.phase is PrefixPhase.VALID:
        tally.prefixes += 1
        tally.free += PREFIX_ADDRESSES[prefix.family]


def _count_coming(tally: Tally, intent: AssignIntent) -> None:
    tally.room += intent.count
    if intent.is_prefix:
        tally.prefixes += intent.count
        tally.coming += intent.count * PREFIX_ADDRESSES[intent.family]
    else:
        tally.coming += intent.count


def staying(pool: Pool) -> tuple[PoolENI, ...]:
    """Return the ENIs that are in use or will be."""
    return tuple(e for e in pool.enis.values() if not e.phase.is_leaving and not e.is_gone)
