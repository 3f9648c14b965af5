"""What a printer knows of what it has printed: who is in which class, and which rule sets care."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from terway.model.address import Family, IPAddress
from terway.model.nft import Element
from terway.model.nft_rule import Verdict
from terway.policy.compiled import ClassId, Net, RuleSet
from terway.policy.nft.names import Names
from terway.policy.nft.ports import verdict_of
from terway.policy.nft.skeleton import RuleChain, rest_of
from terway.policy.nft.words import goto
from terway.policy.policies import Direction
from terway.policy.ports import PortSet

# From so many hosts on, and if so many of them may the same, a rule set shares one set of hosts.
SHARE_FROM = 256
_SHARED_PART = 0.75


@dataclass(slots=True, kw_only=True)
class Printed:
    """A rule set that is in the table.

    `everybody` are the ports of all hosts that its own maps do not tell apart; None: they tell
    all. `nets` is what its interval maps hold, `version` how often they were made.
    """

    name: str
    direction: Direction
    default: PortSet
    verdicts: dict[ClassId, PortSet]
    everybody: PortSet | None = None
    nets: dict[Family, tuple[Element, ...]] = field(default_factory=dict)
    version: dict[Family, int] = field(default_factory=dict)

    def ports(self) -> Iterable[PortSet]:
        """Yield each set of ports that it refers to, as often as it does."""
        yield from self.verdicts.values()
        yield self.default
        if self.everybody is not None:
            yield self.everybody

    def verdict(self, class_id: ClassId | None, names: Names) -> Verdict | None:
        """Return what its map of hosts has for one of a class; None: there is no element."""
        ports = None if class_id is None else self.verdicts.get(class_id)
        if self.everybody is None or class_id is None:
            return None if ports is None else verdict_of(ports, names)
        if ports is None:
            return goto(rest_of(self.name, names))
        return None if ports == self.everybody else verdict_of(ports, names)

    def chain(self, names: Names) -> RuleChain:
        """Return what its rules depend on."""
        nets = {
            family: names.nets(self.name, family, self.version[family])
            for family, elements in self.nets.items()
            if elements
        }
        return RuleChain(
            name=self.name,
            direction=self.direction,
            default=verdict_of(self.default, names),
            nets=nets,
            everybody=None if self.everybody is None else verdict_of(self.everybody, names),
        )


class Hosts:
    """Which class each host is in, and which hosts each class has."""

    __slots__ = ("_by_class", "classes")

    def __init__(self, classes: Mapping[IPAddress, ClassId]) -> None:
        self.classes = dict(classes)
        self._by_class: dict[ClassId, set[IPAddress]] = {}
        for address, class_id in self.classes.items():
            self._by_class.setdefault(class_id, set()).add(address)

    def of(self, class_id: ClassId) -> frozenset[IPAddress] | set[IPAddress]:
        """Return the hosts of a class."""
        return self._by_class.get(class_id, frozenset())

    def put(self, address: IPAddress, class_id: ClassId | None) -> None:
        """Put a host into a class, or (None) out of all."""
        before = self.classes.pop(address, None)
        if before is not None:
            members = self._by_class[before]
            members.discard(address)
            if not members:
                del self._by_class[before]
        if class_id is not None:
            self.classes[address] = class_id
            self._by_class.setdefault(class_id, set()).add(address)


def shared_ports(rule_set: RuleSet, hosts: Hosts, share_from: int) -> PortSet | None:
    """Return what nearly all hosts may by a rule set, None where they differ or are few."""
    total = len(hosts.classes)
    if total < share_from:
        return None
    counts: Counter[PortSet] = Counter()
    for class_id, ports in rule_set.verdicts.items():
        counts[ports] += len(hosts.of(class_id))
    most = counts.most_common(1)
    return most[0][0] if most and most[0][1] >= total * _SHARED_PART else None


def net_elements(
    nets: Iterable[Net], verdicts: Mapping[ClassId, PortSet], names: Names
) -> dict[Family, tuple[Element, ...]]:
    """Return the elements of a rule set's interval maps, neighbours with one verdict joined."""
    found: dict[Family, list[tuple[int, int, Verdict]]] = {family: [] for family in Family}
    for net in nets:
        ports = verdicts.get(net.class_id)
        if ports is None:
            continue
        verdict, own = verdict_of(ports, names), found[net.family]
        if own and own[-1][1] + 1 == net.first and own[-1][2] == verdict:
            own[-1] = (own[-1][0], net.last, verdict)
        else:
            own.append((net.first, net.last, verdict))
    return {family: tuple(_interval(family, *one) for one in own) for family, own in found.items()}


def _interval(family: Family, first: int, last: int, verdict: Verdict) -> Element:
    size = family.max_prefixlen // 8
    return Element(first.to_bytes(size, "big"), last.to_bytes(size, "big"), verdict)
