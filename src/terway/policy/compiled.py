"""What a place has to enforce, in no packet filter's language: two maps answer a packet.

    address ──► class                       `hosts`, then `nets`; neither: class NOBODY
    (rule set, class) ──► allowed ports     `RuleSet.verdicts`; no entry: `RuleSet.default`

nftables and BPF are printers of this, and their lifters read it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from terway.model.address import Family, IPAddress
from terway.policy.cluster import PodKey
from terway.policy.policies import Direction
from terway.policy.ports import PortSet

# The same number never means something else later in one process: a packet that is judged while
# things change sees the old whole, or the new one.
ClassId = NewType("ClassId", int)
RuleSetId = NewType("RuleSetId", int)

NOBODY = ClassId(0)  # addresses that no selector of the place matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """The addresses `first` to `last` (numbers, both included) of a family, and their class.

    Nets of a family are disjoint and ascending. A host inside has the host's class, which is
    never less: what matches the net by block matches the host, too.
    """

    family: Family
    first: int
    last: int
    class_id: ClassId


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """What one direction of the pods with the same policies allows, by the other end's class.

    `verdicts` has an entry for every class that one of its selectors matches, even where it says
    what `default` says: so a host without an entry may be judged by the net around it.
    """

    direction: Direction
    default: PortSet
    verdicts: Mapping[ClassId, PortSet]

    def allowed(self, class_id: ClassId) -> PortSet:
        """Return the ports on which an address of the class may be talked to, or may talk."""
        return self.verdicts.get(class_id, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The rule sets of one pod; None is a direction in which nothing restricts it.

    The last two are egress and ingress without NetworkPolicy, which never comes between a pod and
    its own node or itself; None where it alone restricts the direction. `own_node` judges what the
    pod sends to its node itself, by whatever address, and to itself by way of a service; `itself`
    what it gets from itself that way.
    """

    ingress: RuleSetId | None = None
    egress: RuleSetId | None = None
    own_node: RuleSetId | None = None
    itself: RuleSetId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """All that a place enforces. `sides` has the pods of the place that something restricts."""

    hosts: Mapping[IPAddress, ClassId] = field(default_factory=dict)
    nets: tuple[Net, ...] = ()
    rule_sets: Mapping[RuleSetId, RuleSet] = field(default_factory=dict)
    sides: Mapping[PodKey, Sides] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From one `Compiled` to the next, by what is different. None as a value: it is gone.

    `verdicts` are entries of rule sets that stay; a rule set's old entries never change. Whoever
    prints it makes `rule_sets` and `verdicts` first, then switches `hosts`, `nets` and `sides`
    in one step, then removes what is gone.
    """

    rule_sets: Mapping[RuleSetId, RuleSet | None] = field(default_factory=dict)
    verdicts: Mapping[tuple[RuleSetId, ClassId], PortSet | None] = field(default_factory=dict)
    hosts: Mapping[IPAddress, ClassId | None] = field(default_factory=dict)
    nets: tuple[Net, ...] | None = None  # None: as they were
    sides: Mapping[PodKey, Sides | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rule_sets or self.verdicts or self.hosts or self.sides) or (
            self.nets is not None
        )
