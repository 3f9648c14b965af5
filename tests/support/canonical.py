"""Do two compiled states say the same, whatever the numbers of their classes and rule sets?

A class is known by who holds it, a rule set by the pods that use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from terway.model.address import Family, IPAddress
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, ClassId, Compiled, RuleSet, RuleSetId
from terway.policy.policies import Direction
from terway.policy.ports import PortSet

K = TypeVar("K")
V = TypeVar("V")

Place = IPAddress | tuple[Family, int, int]
Holders = frozenset[Place]
Users = frozenset[tuple[PodKey, str]]  # a pod, and the field of its `Sides`


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalRuleSet:
    """A rule set without numbers."""

    direction: Direction
    default: PortSet
    verdicts: Mapping[Holders, PortSet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """A compiled state without numbers; equal to every other that says the same."""

    classes: frozenset[Holders]
    rule_sets: Mapping[Users, CanonicalRuleSet]


def canonical(compiled: Compiled) -> Canonical:
    """Return what `compiled` says, without numbers."""
    holders = _holders(compiled)
    users: dict[RuleSetId, set[tuple[PodKey, str]]] = defaultdict(set)
    for pod, sides in compiled.sides.items():
        for name in ("ingress", "egress", "own_node", "itself"):
            rule_set_id: RuleSetId | None = getattr(sides, name)
            if rule_set_id is not None:
                users[rule_set_id].add((pod, name))
    return Canonical(
        classes=frozenset(holders.values()),
        rule_sets={
            frozenset(users[rule_set_id]): CanonicalRuleSet(
                direction=rule_set.direction,
                default=rule_set.default,
                verdicts={
                    holders.get(one, frozenset()): ports for one, ports in rule_set.verdicts.items()
                },
            )
            for rule_set_id, rule_set in compiled.rule_sets.items()
        },
    )


def _holders(compiled: Compiled) -> dict[ClassId, Holders]:
    found: dict[ClassId, set[Place]] = defaultdict(set)
    for address, class_id in compiled.hosts.items():
        found[class_id].add(address)
    for net in compiled.nets:
        found[net.class_id].add((net.family, net.first, net.last))
    return {class_id: frozenset(places) for class_id, places in found.items()}


def changed(compiled: Compiled, change: Change) -> Compiled:
    """Return the state after `change`."""
    rule_sets: dict[RuleSetId, RuleSet] = _changed(compiled.rule_sets, change.rule_sets)
    verdicts: dict[RuleSetId, dict[ClassId, PortSet | None]] = defaultdict(dict)
    for (rule_set_id, class_id), ports in change.verdicts.items():
        verdicts[rule_set_id][class_id] = ports
    for rule_set_id, entries in verdicts.items():
        before = rule_sets[rule_set_id]
        rule_sets[rule_set_id] = replace(before, verdicts=_changed(before.verdicts, entries))
    return Compiled(
        hosts=_changed(compiled.hosts, change.hosts),
        nets=compiled.nets if change.nets is None else change.nets,
        rule_sets=rule_sets,
        sides=_changed(compiled.sides, change.sides),
    )


def _changed(before: Mapping[K, V], changes: Mapping[K, V | None]) -> dict[K, V]:
    kept = {key: value for key, value in before.items() if key not in changes}
    return kept | {key: value for key, value in changes.items() if value is not None}
