"""How many addresses are there, by ENI, family and phase?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from terway.ipam.pool import Pool
from terway.ipam.values import AddressPhase, AssignIntent, PoolENI, Slot
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

    @property
    def ready(self) -> int:
        """Return those that are free, or will be without a new call."""
        return self.free + self.cooling + self.coming

    @property
    def usable(self) -> int:
        """Return those that serve pods, now or soon."""
        return self.ready + self.bound

    @property
    def total(self) -> int:
        """Return those that take room on the ENI."""
        return self.usable + self.retiring


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
    def is_idle(self) -> bool:
        """Return whether every address of it is free."""
        return all(t.free == t.total and not t.missing for t in (self.v4, self.v6))


def take_census(pool: Pool) -> Mapping[ENIId, ENITally]:
    """Return the counts of every ENI of the pool."""
    families = pool.config.families
    tallies = {eni_id: ENITally(families=families) for eni_id in pool.enis}
    for slot in pool.slots.values():
        tally = tallies[slot.eni_id]
        _count(tally.v4 if isinstance(slot.address, IPv4Address) else tally.v6, slot)
    for intent in pool.intents.values():
        if isinstance(intent, AssignIntent):
            tallies[intent.eni_id].of(intent.family).coming += intent.count
    return tallies


def _count(tally: Tally, slot: Slot) -> None:
    if slot.is_missing:
        tally.missing += 1
    elif slot.phase is AddressPhase.BOUND:
        tally.bound += 1
    elif slot.phase is AddressPhase.FREE:
        tally.free += 1
    elif slot.phase is AddressPhase.COOLING:
        tally.cooling += 1
    else:
        tally.retiring += 1


def staying(pool: Pool) -> tuple[PoolENI, ...]:
    """Return the ENIs that are in use or will be."""
    return tuple(e for e in pool.enis.values() if not e.phase.is_leaving and not e.is_gone)


def ready_pairs(pool: Pool, census: Mapping[ENIId, ENITally]) -> int:
    """Return how many pods the pool could serve without a new call, those that wait included."""
    families = pool.config.families
    attached = sum(census[eni.id].ready_pairs for eni in staying(pool))
    return attached + sum(min(map(intent.count, families)) for intent in pool.creates)
