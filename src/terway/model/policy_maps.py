"""What do the policy maps of the data path hold? bpf/policy.h reads the same, packet by packet.

    endpoint ──► rule sets                        `sides`
    address  ──► class                            `hosts`, else the longest of `nets`, else NOBODY
    (rule set, class) ──► word                    `verdicts`; none: that of NOBODY
    (set of ports, protocol, upper byte) ──► 256 bits     `pages`

What must change together is a `Turn`: it changes with the one number `generation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, NewType, TypeVar

from terway.model.address import Family, IPAddress

RuleSetNumber = NewType("RuleSetNumber", int)  # in the kernel; 0 is none
ClassNumber = NewType("ClassNumber", int)
Word = NewType("Word", int)  # what is allowed: policy/bpf/ports.py
Generation = NewType("Generation", int)

NO_RULE_SET = RuleSetNumber(0)
NOBODY = ClassNumber(0)
NO_CLASS = ClassNumber(0xFFFFFFFF)  # of a host: it is none; the nets are asked
NO_NETS = 0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """From generation `since` on `after`, until then `before`."""

    since: Generation
    before: T
    after: T

    def at(self, generation: Generation) -> T:
        """Return what a packet meets that has read `generation`."""
        return self.after if generation >= self.since else self.before


class Lanes(NamedTuple):
    """The rule sets of an endpoint: `Sides`, in the kernel's numbers."""

    ingress: RuleSetNumber = NO_RULE_SET
    egress: RuleSetNumber = NO_RULE_SET
    own_node: RuleSetNumber = NO_RULE_SET
    itself: RuleSetNumber = NO_RULE_SET


NO_LANES = Lanes()


class Prefix(NamedTuple):
    """Addresses of a family that begin alike, in one generation of nets."""

    nets: int
    family: Family
    address: int
    length: int


class Pair(NamedTuple):
    """A rule set and a class of other ends."""

    rule_set: RuleSetNumber
    class_id: ClassNumber


class PageOf(NamedTuple):
    """Ports of a set with one upper byte. `protocol` is the IP header's number."""

    ports: int
    protocol: int
    upper: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that the maps hold, or some of it that is to be put there."""

    generation: Generation = Generation(0)
    sides: Mapping[int, Turn[Lanes]] = field(default_factory=dict)  # by endpoint
    hosts: Mapping[IPAddress, Turn[ClassNumber]] = field(default_factory=dict)
    nets_turn: Turn[int] | None = None
    nets: Mapping[Prefix, ClassNumber] = field(default_factory=dict)
    verdicts: Mapping[Pair, Word] = field(default_factory=dict)
    pages: Mapping[PageOf, bytes] = field(default_factory=dict)

    def nets_number(self) -> int:
        """Return which nets count now."""
        return NO_NETS if self.nets_turn is None else self.nets_turn.at(self.generation)

    def keys(self) -> Keys:
        """Return the keys of all entries."""
        return frozenset((*self.sides, *self.hosts, *self.nets, *self.verdicts, *self.pages))


# An entry by its key, whichever map it is in: those of each are of a type of their own; an endpoint
# is its number.
Key = int | IPAddress | Prefix | Pair | PageOf
Keys = frozenset[Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How a change comes into force, in this order.

    No packet meets what goes first (`clear`) or comes (`make`); then all of it counts from one
    packet to the next (`switch`, None: nothing has to). With `is_again`, packets must be let out
    before: some of it was turned a moment ago, and they may have met only half of that.
    """

    clear: Keys = frozenset()
    make: Content = field(default_factory=Content)
    switch: Generation | None = None
    is_again: bool = False
