"""What do the policy maps say? Read back as functions, with nothing trusted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from terway.model.address import Family, IPAddress
from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    NO_NETS,
    NOBODY,
    ClassNumber,
    Content,
    Lanes,
    PageOf,
    RuleSetNumber,
    Word,
)
from terway.policy.bpf.ports import SET_MASK, read_ports
from terway.policy.bpf.prefixes import Span, spans_of
from terway.policy.ports import NOTHING, PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftedRules:
    """What a rule set allows: to the classes that it names, and to all others."""

    verdicts: Mapping[ClassNumber, PortSet] = field(default_factory=dict)
    default: PortSet = NOTHING

    def allowed(self, class_id: ClassNumber) -> PortSet:
        """Return the ports on which an address of the class may be talked to, or may talk."""
        return self.verdicts.get(class_id, self.default)


NO_RULES = LiftedRules()  # a rule set without entries: nobody is allowed anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """What every packet meets now. `spans` are ascending and disjoint, by family."""

    lanes: Mapping[int, Lanes]
    hosts: Mapping[IPAddress, ClassNumber]
    spans: Mapping[Family, tuple[Span, ...]]
    rule_sets: Mapping[RuleSetNumber, LiftedRules]


def lift(content: Content) -> Lifted:
    """Return what the maps say to a packet that comes now."""
    now, nets = content.generation, content.nets_number()
    prefixes = [(one, class_id) for one, class_id in content.nets.items() if one.nets == nets]
    lanes = {number: turn.at(now) for number, turn in content.sides.items()}
    hosts = {address: turn.at(now) for address, turn in content.hosts.items()}
    return Lifted(
        lanes={number: one for number, one in lanes.items() if one != NO_LANES},
        hosts={address: one for address, one in hosts.items() if one != NO_CLASS},
        spans={family: spans_of(prefixes, family) if nets != NO_NETS else () for family in Family},
        rule_sets=dict(_rule_sets(content)),
    )


def _rule_sets(content: Content) -> Iterator[tuple[RuleSetNumber, LiftedRules]]:
    pages: dict[int, dict[PageOf, bytes]] = defaultdict(dict)
    for page, bits in content.pages.items():
        pages[page.ports][page] = bits
    known: dict[Word, PortSet] = {}
    found: dict[RuleSetNumber, dict[ClassNumber, PortSet]] = defaultdict(dict)
    for pair, word in content.verdicts.items():
        if word not in known:
            own = pages[word & SET_MASK] if word & SET_MASK else {}
            known[word] = read_ports(word, own)
        found[pair.rule_set][pair.class_id] = known[word]
    for number, verdicts in found.items():
        default = verdicts.pop(NOBODY, NOTHING)
        yield number, LiftedRules(verdicts=verdicts, default=default)
