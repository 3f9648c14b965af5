"""What makes the rules of one pod apply: constant in size, by its interface's name.

    egress:        { cali1 : jump egress_cali1 }
    egress_cali1:  iifname cali1 oifname cali1 goto egress8      only where it is needed, see below
                   goto egress7

A pod that goes from one rule set to another gets another rule in its chain: the kernel exchanges
those as one, and no packet misses both. An element of a hash that is exchanged is missed by a look-
up that began before (kernels from the end of 2025 on look again), and who misses here passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.model.nft import Element, Rule
from terway.model.nft_rule import RETURN, Cmp, CmpOp, Meta, MetaKey, Verdict
from terway.policy.compiled import RuleSetId, Sides
from terway.policy.nft.names import Names
from terway.policy.nft.skeleton import Place
from terway.policy.nft.state import Printed
from terway.policy.nft.words import goto, jump, then

_IFNAMSIZ = 16  # include/uapi/linux/if.h, with the zero at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """A pod's rule sets, and the interface at which they judge."""

    interface: str
    sides: Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What is asked at an interface in one direction: a chain of a rule set.

    `itself` is what becomes of what the pod opens to itself, by way of a service; None: the same.
    """

    interface: str
    rule_set: str
    itself: Verdict | None = None

    @property
    def rule_set_for_itself(self) -> str | None:
        """Return what judges what the pod opens to itself; None: nothing does."""
        if self.itself is None:
            return self.rule_set
        return None if self.itself == RETURN else self.itself.chain


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHook:
    """What a pod has in the table: elements by their map or set, and chains of its own."""

    elements: Mapping[str, Element]
    chains: Mapping[str, tuple[Rule, ...]]


NOT_HERE = AtHook(elements={}, chains={})


def interface_key(name: str) -> bytes:
    """Return an interface's name as a key."""
    return name.encode().ljust(_IFNAMSIZ, b"\0")


def interface_of(key: bytes) -> str:
    """Return the interface that a key names."""
    return key.rstrip(b"\0").decode(errors="replace")


def lane_rules(lane: Lane) -> tuple[Rule, ...]:
    """Return the rules of a pod's own chain."""
    rest: Rule = (then(goto(lane.rule_set)),)
    if lane.itself is None:
        return (rest,)
    own = Cmp(CmpOp.EQ, interface_key(lane.interface))
    return ((Meta(MetaKey.IIFNAME), own, Meta(MetaKey.OIFNAME), own, then(lane.itself)), rest)


def at_hook(
    place: Place, names: Names, rule_sets: Mapping[RuleSetId, Printed], pod: Hooked
) -> AtHook:
    """Return what makes the rule sets of a pod apply."""
    key = interface_key(pod.interface)
    elements: dict[str, Element] = {}
    chains: dict[str, tuple[Rule, ...]] = {}
    for name, lane in _lanes(place, names, rule_sets, pod):
        chain = names.lane(name, pod.interface)
        elements[names.of(name)] = Element(key, None, jump(chain))
        chains[chain] = lane_rules(lane)
    if place is Place.NODE and _is_free_to_meet_itself(pod.sides):
        elements[names.of("itself")] = Element(key + key)
    return AtHook(elements=elements, chains=chains)


def _lanes(
    place: Place, names: Names, rule_sets: Mapping[RuleSetId, Printed], pod: Hooked
) -> Iterator[tuple[str, Lane]]:
    sides = pod.sides
    asked = [("egress", sides.egress, sides.own_node), ("ingress", sides.ingress, sides.itself)]
    if place is Place.NODE:
        asked.append(("own_node", sides.own_node, sides.own_node))
    tells_itself = place is Place.NODE and not _is_free_to_meet_itself(sides)
    for name, number, alone in asked:
        if number is None:
            continue
        itself: Verdict | None = None
        if tells_itself and alone != number:
            itself = RETURN if alone is None else goto(names.of(rule_sets[alone].name))
        rule_set = names.of(rule_sets[number].name)
        yield name, Lane(interface=pod.interface, rule_set=rule_set, itself=itself)


def _is_free_to_meet_itself(sides: Sides) -> bool:
    """Return whether only NetworkPolicy selects the pod, which never keeps it from itself.

    Then what is denied is asked whether it is that, and what is allowed pays nothing for it.
    """
    return sides.own_node is None and sides.itself is None
