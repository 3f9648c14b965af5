"""What do the tables of this node say, once they were read? Pure, and slow: for a worker thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from terway.agent.policy.hooks import Hooks, spread_sides
from terway.model.nft import Table
from terway.policy.cluster import PodKey
from terway.policy.compiled import Compiled, RuleSetId, Sides
from terway.policy.nft.lift import lift
from terway.policy.nft.skeleton import Place
from terway.policy.nft.verify import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTable:
    """One table, None where there is none; `pod` is whose own it is, None for the node's."""

    table: Table | None
    hooks: Hooks
    pod: PodKey | None = None

    def differences(self, compiled: Compiled) -> Iterator[str]:
        """Yield where it is not as `compiled` of the whole node wants it."""
        place = Place.NODE if self.pod is None else Place.POD
        wish = compiled if self.pod is None else of_pod(compiled, self.pod)
        where = "" if self.pod is None else f" (inside {self.pod})"
        found = verify(place, spread_sides(wish, self.hooks), self.hooks, lift(place, self.table))
        for one in found:
            yield f"{one}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """All tables as they were at one moment."""

    tables: tuple[ReadTable, ...]

    def differences(self, compiled: Compiled) -> tuple[str, ...]:
        """Return in words where they say something else than `compiled`."""
        return tuple(one for table in self.tables for one in table.differences(compiled))


def rule_sets_of(sides: Sides) -> frozenset[RuleSetId]:
    """Return what is judged inside a pod; what it sends to node or itself is at the node."""
    return frozenset(one for one in (sides.ingress, sides.egress) if one is not None)


def of_pod(compiled: Compiled, pod: PodKey) -> Compiled:
    """Return what concerns one pod alone, inside of it."""
    sides = compiled.sides.get(pod)
    if sides is None:
        return Compiled()
    own = rule_sets_of(sides)
    return replace(
        compiled,
        rule_sets={number: one for number, one in compiled.rule_sets.items() if number in own},
        sides={pod: replace(sides, own_node=None, itself=None)},
    )
