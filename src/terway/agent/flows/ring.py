"""What do the programs of the data path tell the flow log, and when?

While something is wished the flow log is one of those who watch (`agent/ebpf/watchers`): programs
tell what all of them wish, together. Nobody wishes anything: it watches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass

from terway.agent.ebpf import watchers
from terway.agent.flows.flood import RATE_PER_S
from terway.agent.flows.followers import Wish
from terway.agent.flows.seen import Seen, seen_by_program
from terway.datapath.happening import Happened, Line, Wanted
from terway.model.address import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of a node. What is `left_to_stack` is judged by tables behind them."""

    watchers: watchers.Watchers
    left_to_stack: Collection[IPNetwork] = ()


class Ring:
    """The flow log among those who watch.

    `took` gets what is seen, or how much was left out; `changed` hears that programs tell now.
    """

    def __init__(
        self,
        programs: Programs,
        *,
        took: Callable[[Seen | None, int], None],
        changed: Callable[[], None],
    ) -> None:
        self._programs = programs
        self._took = took
        self._changed = changed
        self._wish: watchers.Wish | None = None
        self._joined = ExitStack()

    @property
    def is_telling(self) -> bool:
        """Return whether the programs tell what is wished."""
        all_of_us = self._programs.watchers
        return self._wish is not None and all_of_us.in_force == all_of_us.wish()

    @property
    def trouble(self) -> str:
        """Return why the programs tell nothing; empty: they do, or will at once."""
        return self._programs.watchers.trouble if self._wish is not None else ""

    def fit(self, wish: Wish | None) -> None:
        """Watch for what is wished; None: do not."""
        wanted = None if wish is None else _watched(wish)
        if wanted == self._wish:
            return
        # Nobody else has a turn between the two: what both wish goes on being told.
        self._joined.close()
        self._wish = wanted
        if wanted is not None:
            ear = _Ear(wanted, self._hear)
            self._joined.enter_context(self._programs.watchers.enter(ear))

    def close(self) -> None:
        """Watch no more."""
        self.fit(None)

    def _hear(self, line: Line) -> None:
        if isinstance(line, Happened):
            in_force = self._programs.watchers.in_force
            sample = in_force.one_in if in_force is not None else 1
            left_to_stack = self._programs.left_to_stack
            seen = seen_by_program(line, sample=sample, left_to_stack=left_to_stack)
            if seen is not None:
                self._took(seen, 0)
        elif line.count:
            self._took(None, line.count)
        else:
            self._changed()


class _Ear:
    """One who watches, and is told at once."""

    def __init__(self, wish: watchers.Wish, hear: Callable[[Line], None]) -> None:
        self.wish = wish
        self.has_begun = False
        self._hear = hear

    def tell(self, line: Line) -> None:
        """Hear a line, if it is wished."""
        if not isinstance(line, Happened) or self.wish.wanted.matches(line):
            self._hear(line)


def _watched(wish: Wish) -> watchers.Wish:
    """Return what programs are to tell, at most as much as rules may log."""
    return watchers.Wish(
        wanted=Wanted(losses=True, flows=bool(wish.sample)),
        one_in=max(wish.sample, 1),
        per_second=2 * RATE_PER_S,
    )
