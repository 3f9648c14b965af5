"""What must be done to the policy maps, so that they enforce what was compiled?

A writer knows what it has had written; each change becomes what is to be put, one number that turns
all of it at once, and what is to go when no packet meets it any more. Where the kernel refused
something nothing was turned, so what was in force still is; `adopt` goes on from what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from terway.model.address import IPAddress
from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    NO_NETS,
    ClassNumber,
    Content,
    Generation,
    Key,
    Keys,
    Lanes,
    PageOf,
    Pair,
    Prefix,
    Steps,
    Turn,
    Word,
)
from terway.policy.bpf.numbering import Numbering, numbering_beside
from terway.policy.bpf.prefixes import prefixes_of
from terway.policy.bpf.rule_book import Entry, RuleBook
from terway.policy.bpf.turns import turns, turns_from, unmet
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, ClassId, Compiled, Net, Sides

Endpoints = Mapping[PodKey, tuple[int, ...]]  # the numbers of each pod's interfaces

_NETS = None  # among what was turned

K = TypeVar("K")
V = TypeVar("V")


class Writer:
    """Writes one node's maps. Not for two threads at once; nothing is done here, only said."""

    def __init__(self) -> None:
        self._numbering: Numbering | None = None
        self._book = RuleBook(Numbering())
        self._generation = Generation(0)
        self._hosts: dict[IPAddress, ClassNumber] = {}
        self._nets: Mapping[Prefix, ClassNumber] = {}
        self._nets_number = self._last_nets = NO_NETS
        self._sides: dict[PodKey, Sides] = {}
        self._lanes: dict[int, Lanes] = {}
        self._fresh: set[Key | None] = set()  # turned since packets were let out
        self._waste: set[Key] = set()
        self._fresh_aside: frozenset[Key | None] = frozenset()
        self._waste_aside: Keys = frozenset()

    @property
    def generation(self) -> Generation:
        """Return what is in force when the last steps were done."""
        return self._generation

    def lanes(self) -> Mapping[int, Lanes]:
        """Return the rule sets of each endpoint that something restricts."""
        return dict(self._lanes)

    def adopt(self, compiled: Compiled, endpoints: Endpoints, actual: Content) -> Steps:
        """Return how what the maps hold becomes the wish, whatever that is."""
        if self._numbering is None:
            self._numbering = numbering_beside(actual)
            self._book = RuleBook(self._numbering)
        last = actual.generation
        verdicts, pages = _collected(self._book.begin(compiled.rule_sets))
        self._hosts = {one: self._class(number) for one, number in compiled.hosts.items()}
        self._sides = dict(compiled.sides)
        self._lanes = self._lanes_at(endpoints)
        self._adopt_nets(compiled.nets, actual)
        self._generation = Generation(last + 1)
        sides = turns_from(actual.sides, self._lanes, NO_LANES, last)
        hosts = turns_from(actual.hosts, self._hosts, NO_CLASS, last)
        held = {} if actual.nets_turn is None else {_NETS: actual.nets_turn}
        nets_turn = turns_from(held, {_NETS: self._nets_number}, NO_NETS, last).get(_NETS)
        self._fresh = {*sides, *hosts, _NETS}
        wished = {*self._lanes, *self._hosts, *self._nets, *verdicts, *pages}
        clear = frozenset(unmet(actual) - wished)
        self._waste = set(actual.keys() - clear - wished)
        make = Content(
            sides=sides,
            hosts=hosts,
            nets_turn=nets_turn,
            nets=_missing(self._nets, actual.nets),
            verdicts=_missing(verdicts, actual.verdicts),
            pages=_missing(pages, actual.pages),
        )
        # Who turned what a moment ago is not known: another process, or one that failed.
        return Steps(clear=clear, make=make, switch=self._generation, is_again=True)

    def change(self, change: Change, endpoints: Endpoints) -> Steps:
        """Return how the maps become what the change makes of them.

        `endpoints` are all that pods have here now, not only those that changed.
        """
        now = Generation(self._generation + 1)
        verdicts, pages = _collected(self._book.take(change))
        hosts = self._turn_hosts(change.hosts, now)
        nets_turn, nets = self._turn_nets(change.nets, now)
        sides = self._turn_sides(change.sides, endpoints, now)
        self._waste.update(self._book.leave(change))
        turned: set[Key | None] = {*hosts, *sides, *([] if nets_turn is None else [_NETS])}
        is_again = not turned.isdisjoint(self._fresh)
        self._fresh = turned if is_again else self._fresh | turned
        self._fresh_aside -= turned
        self._generation = now if turned else self._generation
        make = Content(
            sides=sides, hosts=hosts, nets_turn=nets_turn, nets=nets, verdicts=verdicts, pages=pages
        )
        return Steps(make=make, switch=now if turned else None, is_again=is_again)

    def set_aside(self) -> bool:
        """Return whether something waits until packets are let out, and keep it apart."""
        self._waste_aside, self._fresh_aside = frozenset(self._waste), frozenset(self._fresh)
        return bool(self._waste_aside or self._fresh_aside)

    def clear_away(self) -> Keys:
        """Return what may go, now that no packet meets what was set aside.

        What a change since then took into use again stays.
        """
        gone = frozenset(self._waste & self._waste_aside)
        self._waste -= gone
        self._fresh -= self._fresh_aside
        self._waste_aside, self._fresh_aside = frozenset(), frozenset()
        return gone

    def _turn_hosts(
        self, changed: Mapping[IPAddress, ClassId | None], now: Generation
    ) -> dict[IPAddress, Turn[ClassNumber]]:
        after = {one: self._class(id_) for one, id_ in changed.items() if id_ is not None}
        found = turns(self._hosts, after, changed, NO_CLASS, now)
        self._hosts.update(after)
        for one in changed.keys() - after.keys():
            self._hosts.pop(one, None)
        self._sort_out(found, after)
        return found

    def _turn_sides(
        self, changed: Mapping[PodKey, Sides | None], endpoints: Endpoints, now: Generation
    ) -> dict[int, Turn[Lanes]]:
        for pod, sides in changed.items():
            if sides is None:
                self._sides.pop(pod, None)
            else:
                self._sides[pod] = sides
        before, self._lanes = self._lanes, self._lanes_at(endpoints)
        found = turns(before, self._lanes, before.keys() | self._lanes.keys(), NO_LANES, now)
        self._sort_out(found, self._lanes)
        return found

    def _turn_nets(
        self, changed: tuple[Net, ...] | None, now: Generation
    ) -> tuple[Turn[int] | None, Mapping[Prefix, ClassNumber]]:
        if changed is None:
            return None, {}
        before = self._nets_number
        self._waste.update(self._nets)
        self._make_nets(changed)
        return Turn(now, before, self._nets_number), self._nets

    def _adopt_nets(self, nets: tuple[Net, ...], actual: Content) -> None:
        """Keep the nets that are there, if they are the wished ones; else have others made."""
        held = actual.nets_number()
        numbers = [one.nets for one in actual.nets]
        turn = actual.nets_turn
        numbers += [] if turn is None else [turn.before, turn.after]
        self._last_nets = max((self._last_nets, *numbers))
        kept = {one: class_id for one, class_id in actual.nets.items() if one.nets == held}
        wished = self._prefixes(held, nets)
        if held != NO_NETS and kept == wished:
            self._nets, self._nets_number = wished, held
        else:
            self._make_nets(nets)

    def _make_nets(self, nets: tuple[Net, ...]) -> None:
        self._last_nets += 1
        self._nets = self._prefixes(self._last_nets, nets)
        self._nets_number = self._last_nets if nets else NO_NETS

    def _prefixes(self, number: int, nets: tuple[Net, ...]) -> dict[Prefix, ClassNumber]:
        return {
            prefix: self._class(net.class_id)
            for net in nets
            for prefix in prefixes_of(number, net.family, net.first, net.last)
        }

    def _sort_out(self, turned: Collection[Key], used: Collection[Key]) -> None:
        """Have what nobody uses any more go, and what is used again stay."""
        self._waste_aside -= frozenset(turned)
        for key in turned:
            if key in used:
                self._waste.discard(key)
            else:
                self._waste.add(key)

    def _lanes_at(self, endpoints: Endpoints) -> dict[int, Lanes]:
        assert self._numbering is not None  # everything begins with `adopt`
        return {
            number: self._numbering.lanes(self._sides[pod])
            for pod, numbers in endpoints.items()
            if pod in self._sides
            for number in numbers
        }

    def _class(self, number: ClassId) -> ClassNumber:
        assert self._numbering is not None
        return self._numbering.class_(number)


def _collected(entries: Iterable[Entry]) -> tuple[dict[Pair, Word], dict[PageOf, bytes]]:
    verdicts: dict[Pair, Word] = {}
    pages: dict[PageOf, bytes] = {}
    for pair, word, needed in entries:
        verdicts[pair] = word
        pages.update(needed)
    return verdicts, pages


def _missing(wished: Mapping[K, V], actual: Mapping[K, V]) -> Mapping[K, V]:
    return {key: value for key, value in wished.items() if actual.get(key) != value}
