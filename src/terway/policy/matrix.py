"""Who reaches whom? A table of all pairs, folded so that it can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from terway.policy.matrix_groups import world_of
from terway.policy.matrix_ports import PortMatrix
from terway.policy.policies import Policy
from terway.policy.ports import EVERY_PORT, PortSet, union
from terway.policy.representatives import Holder

Name = Callable[[Holder], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The ports on which all of a row reach all of a column, and those on which some do."""

    all_of: PortSet
    any_of: PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows and columns have the same names, each for one or more holders. None: nobody to ask."""

    names: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]


def table_of(policies: Iterable[Policy], holders: Iterable[Holder], *, name: Name) -> Table:
    """Return who reaches whom; holders with the same `name` are one row and column.

    A pod to itself is left out; a pod's own node counts like any other end, as it is always let in.
    """
    matrix = PortMatrix(policies)
    world = world_of(holders, (matrix,), tell=name)
    found: dict[tuple[str, str], list[PortSet]] = {}
    for source in world.groups:
        for destination in world.groups:
            key = (name(source.first), name(destination.first))
            for pair in world.pairs_of(source, destination):
                found.setdefault(key, []).append(pair.ports(0, matrix))
            if world.has_home(destination, source):
                found.setdefault(key, []).append(EVERY_PORT)
    names = tuple(dict.fromkeys(name(group.first) for group in world.groups))
    return Table(
        names=names,
        cells=tuple(tuple(_cell(found.get((row, column))) for column in names) for row in names),
    )


def _cell(found: Sequence[PortSet] | None) -> Cell | None:
    if not found:
        return None
    shared = found[0]
    for one in found[1:]:
        shared &= one
    return Cell(all_of=shared, any_of=union(found))


def folded(table: Table) -> tuple[tuple[tuple[str, ...], ...], Table]:
    """Return a table in which names with equal rows and columns are one, and who they are.

    Two names are one only if what they say to each other is what each says to itself, if anything.
    """
    parts: list[list[int]] = []
    for at in range(len(table.names)):
        home = next((part for part in parts if _is_alike(table, part[0], at)), None)
        if home is None:
            parts.append([at])
        else:
            home.append(at)
    members = tuple(tuple(table.names[at] for at in part) for part in parts)
    cells = tuple(tuple(_between(table, row, column) for column in parts) for row in parts)
    return members, Table(names=tuple(one[0] for one in members), cells=cells)


def _between(table: Table, row: Sequence[int], column: Sequence[int]) -> Cell | None:
    """Return what a part says to another; to itself, what any two of it say to each other."""
    cells = (table.cells[a][b] for a in row[:2] for b in column[:2])
    return next((one for one in cells if one is not None), None)


def _is_alike(table: Table, one: int, other: int) -> bool:
    size = range(len(table.names))
    others = (at for at in size if at not in (one, other))
    cells = table.cells
    inner = {cells[one][other], cells[other][one], cells[one][one], cells[other][other]} - {None}
    return len(inner) <= 1 and all(
        cells[one][at] == cells[other][at] and cells[at][one] == cells[at][other] for at in others
    )
