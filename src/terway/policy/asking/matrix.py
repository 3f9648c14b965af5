"""Who reaches whom? A table of all pairs, folded so that it can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from terway.policy.asking.matrix_groups import world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.representatives import Holder
from terway.policy.policies import Policy
from terway.policy.ports import EVERY_PORT, PortSet, union

Name = Callable[[Holder], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The ports on which all of a row reach all of a column, and those on which some do."""

    all_of: PortSet
    any_of: PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows and columns are the same `members`: names that policies treat alike are one.

    None is a cell with nobody to ask: a single pod to itself.
    """

    members: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[Cell | None, ...], ...]


def table_of(policies: Iterable[Policy], holders: Iterable[Holder], *, name: Name) -> Table:
    """Return who reaches whom; holders with the same `name` are one row and column.

    A pod to itself is left out; its own node counts like any other, as it is always let in.
    """
    matrix = PortMatrix(policies)
    holders = tuple(holders)
    members = _alike(holders, matrix, name)
    part_of = {one: at for at, names in enumerate(members) for one in names}

    def part(holder: Holder) -> int:
        return part_of[name(holder)]

    world = world_of(holders, (matrix,), tell=part)
    found: dict[tuple[int, int], list[PortSet]] = {}
    for source in world.groups:
        for destination in world.groups:
            key = (part(source.first), part(destination.first))
            for pair in world.pairs_of(source, destination):
                found.setdefault(key, []).append(pair.ports(0, matrix))
            if world.has_home(destination, source):
                found.setdefault(key, []).append(EVERY_PORT)
    size = range(len(members))
    cells = tuple(tuple(_cell(found.get((row, column))) for column in size) for row in size)
    return Table(members=members, cells=cells)


def _alike(
    holders: Iterable[Holder], matrix: PortMatrix, name: Name
) -> tuple[tuple[str, ...], ...]:
    """Return the names, those together whose holders are of the same groups."""
    groups: dict[str, set[int]] = {}
    for at, group in enumerate(world_of(holders, (matrix,)).groups):
        for one in group.holders:
            groups.setdefault(name(one), set()).add(at)
    alike: dict[frozenset[int], list[str]] = {}
    for text, found in groups.items():
        alike.setdefault(frozenset(found), []).append(text)
    return tuple(map(tuple, alike.values()))


def _cell(found: Sequence[PortSet] | None) -> Cell | None:
    if not found:
        return None
    shared = found[0]
    for one in found[1:]:
        shared &= one
    return Cell(all_of=shared, any_of=union(found))
