"""Which numbers has this process in the kernel, beside those that an earlier one left there?

A number, once given, never means something else later: a process begins where there is most room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    NO_RULE_SET,
    NOBODY,
    ClassNumber,
    Content,
    Lanes,
    RuleSetNumber,
    Turn,
)
from terway.policy.bpf.ports import SET_MASK
from terway.policy.compiled import NOBODY as COMPILED_NOBODY
from terway.policy.compiled import ClassId, RuleSetId, Sides

_LAST = 0xFFFFFFFE

T = TypeVar("T")


def room_above(used: Iterable[int], last: int) -> int:
    """Return the number above which there is most room, up to `last` or the next that is used."""
    ends = sorted({0, *used, last + 1})
    gaps = ((after - before, before) for before, after in pairwise(ends))
    return max(gaps, key=lambda gap: (gap[0], -gap[1]))[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The kernel's numbers are the compiler's, moved."""

    rule_sets: int = 0
    classes: int = 0
    ports: int = 0

    def rule_set(self, number: RuleSetId | None) -> RuleSetNumber:
        """Return the kernel's number of a rule set; none is none there, too."""
        return NO_RULE_SET if number is None else RuleSetNumber(self.rule_sets + number)

    def class_(self, number: ClassId) -> ClassNumber:
        """Return the kernel's number of a class."""
        return NOBODY if number == COMPILED_NOBODY else ClassNumber(self.classes + number)

    def lanes(self, sides: Sides | None) -> Lanes:
        """Return a pod's rule sets."""
        if sides is None:
            return NO_LANES
        return Lanes(
            ingress=self.rule_set(sides.ingress),
            egress=self.rule_set(sides.egress),
            own_node=self.rule_set(sides.own_node),
            itself=self.rule_set(sides.itself),
        )


def numbering_beside(content: Content) -> Numbering:
    """Return numbers of which none is in use."""
    lanes = _both(content.sides.values())
    classes = {*_both(content.hosts.values()), *content.nets.values()} - {NO_CLASS}
    return Numbering(
        rule_sets=room_above(
            {one.rule_set for one in content.verdicts} | {one for each in lanes for one in each},
            _LAST,
        ),
        classes=room_above(classes | {one.class_id for one in content.verdicts}, _LAST),
        ports=room_above(
            {one.ports for one in content.pages}
            | {word & SET_MASK for word in content.verdicts.values()},
            SET_MASK,
        ),
    )


def _both(turns: Iterable[Turn[T]]) -> set[T]:
    return {one for turn in turns for one in (turn.before, turn.after)}
