"""What do the tables of this node say, once they were read? Pure, and slow: for a worker thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from terway.agent.policy.hooks import Hooks, spread_sides
from terway.model.nft import Table
from terway.policy.cluster import PodKey
from terway.policy.compiled import Compiled, RuleSetId, Sides
from terway.policy.nft.lift import lift
from terway.policy.nft.skeleton import Place
from terway.policy.nft.verify import Difference, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTable:
    """One table, None where there is none; `pod` is whose own it is, None for the node's.

    `error` is why it could not be read; `place` is the path of its network namespace.
    """

    table: Table | None
    hooks: Hooks
    pod: PodKey | None = None
    place: str = ""
    error: str = ""

    def differences(self, compiled: Compiled) -> Iterator[str]:
        """Yield where it is not as `compiled` of the whole node wants it."""
        where = "" if self.pod is None else f" (inside {self.pod})"
        if self.error:
            yield f"{self.error}{where}"
            return
        try:
            yield from (f"{one}{where}" for one in self._compared(compiled))
        except (ValueError, LookupError, TypeError) as error:
            # A pod may put into its own table what no kernel of ours has ever shown.
            yield f"table cannot be understood: {error!r}{where}"

    def _compared(self, compiled: Compiled) -> tuple[Difference, ...]:
        place = Place.NODE if self.pod is None else Place.POD
        wish = spread_sides(
            compiled if self.pod is None else of_pod(compiled, self.pod), self.hooks
        )
        return verify(place, wish, self.hooks, lift(place, self.table))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """All tables as they were at one moment."""

    tables: tuple[ReadTable, ...]

    def differences(self, compiled: Compiled) -> tuple[str, ...]:
        """Return in words where they say something else than `compiled`."""
        return tuple(one for found in self.wrong(compiled).values() for one in found)

    def wrong(self, compiled: Compiled) -> Mapping[str, tuple[str, ...]]:
        """Return `differences` by place; of places where there are any."""
        found = {table.place: tuple(table.differences(compiled)) for table in self.tables}
        return {place: words for place, words in found.items() if words}


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
