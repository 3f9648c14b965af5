"""Which labels can a pod or namespace have, as far as selectors can tell?

Every set of labels, however odd, is to the given selectors like one of the few returned here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from terway.model.errors import UsageError
from terway.model.selector import Labels, Operator, Requirement, Selector

MOST_CELLS = 20_000


def label_cells(selectors: Iterable[Selector], *, always: Iterable[str] = ()) -> tuple[Labels, ...]:
    """Return one set of labels for each way in which `selectors` can match and not match.

    The fewest labels that do it. `always` are keys that are there in any case. Raises UsageError
    when there are more than MOST_CELLS ways.
    """
    wanted = tuple(dict.fromkeys(selectors))
    keys = sorted({one.key for selector in wanted for one in selector.requirements})
    full = (1 << len(wanted)) - 1
    cells: dict[int, dict[str, str]] = {full: {}}
    needed = frozenset(always)
    for key in keys:
        options = _options(wanted, key, may_lack=key not in needed)
        cells = _refined(cells, wanted, key, options)
        if len(cells) > MOST_CELLS:
            raise UsageError(
                f"the selectors tell more than {MOST_CELLS:,} kinds of labels apart; give the "
                "pods of a cluster, too (-f, or --cluster), and the answer is for that cluster"
            )
    return tuple(cells.values())


def _options(selectors: Sequence[Selector], key: str, *, may_lack: bool) -> tuple[str | None, ...]:
    """Return the values of a key that matter: none, those that are named, and another one."""
    values = {
        value
        for selector in selectors
        for one in selector.requirements
        if one.key == key
        for value in one.values
    }
    lacking: tuple[None, ...] = (None,) if may_lack else ()
    return (*lacking, *sorted(values), _other(values))


def _other(values: set[str]) -> str:
    name = "other"
    while name in values:
        name += "-"
    return name


def _refined(
    cells: Mapping[int, dict[str, str]],
    selectors: Sequence[Selector],
    key: str,
    options: Iterable[str | None],
) -> dict[int, dict[str, str]]:
    """Return the cells after one more key: by the selectors that its value leaves in play."""
    refined: dict[int, dict[str, str]] = {}
    for value in options:
        mask = _mask(selectors, key, value)
        for left, labels in cells.items():
            more = labels if value is None else {**labels, key: value}
            known = refined.get(left & mask)
            if known is None or len(more) < len(known):
                refined[left & mask] = more
    return refined


def _mask(selectors: Sequence[Selector], key: str, value: str | None) -> int:
    labels = {} if value is None else {key: value}
    return sum(
        1 << at
        for at, selector in enumerate(selectors)
        if all(one.matches(labels) for one in selector.requirements if one.key == key)
    )


def name_selector(key: str, name: str) -> Selector:
    """Return the selector of those who have exactly this value."""
    return Selector(
        requirements=frozenset(
            [Requirement(key=key, operator=Operator.IN, values=frozenset([name]))]
        )
    )
