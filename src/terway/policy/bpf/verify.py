"""Do the policy maps enforce what was wished? For every address, protocol and port, exactly.

Addresses that have one class in the wish and one in the kernel are alike: so pairs of classes are
compared, each once for a pair of rule sets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from terway.model.address import Family, IPAddress, family_of
from terway.model.policy_maps import NO_LANES, NOBODY, ClassNumber, Lanes, RuleSetNumber
from terway.policy.bpf.lift import NO_RULES, Lifted, LiftedRules
from terway.policy.bpf.prefixes import Span
from terway.policy.bpf.writer import Endpoints
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import ClassId, Compiled, RuleSet, RuleSetId, Sides
from terway.policy.ports import LAST_PORT, PortSet

# Who changes one entry of a thousand pods gets a list as long; nobody reads more of it.
MOST_DIFFERENCES = 1000

_SIDES = (
    ("ingress", "ingress"),
    ("egress", "egress"),
    ("own_node", "egress to its own node or itself"),
    ("itself", "ingress from itself by way of a service"),
)

Alike = tuple[ClassId, ClassNumber]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Otherwise:
    """Addresses that may more, or less, by the kernel than by the wish."""

    who: str
    more: PortSet
    less: PortSet


def verify(wish: Compiled, endpoints: Endpoints, lifted: Lifted) -> tuple[str, ...]:
    """Return in words what is different, at most MOST_DIFFERENCES; nothing if all is as wished.

    Pods of the wish that are at no endpoint are not asked for.
    """
    return tuple(islice(_Comparison(wish, lifted).all(endpoints), MOST_DIFFERENCES))


class _Comparison:
    def __init__(self, wish: Compiled, lifted: Lifted) -> None:
        self._wish = wish
        self._lifted = lifted
        self._alike = dict(_alike(wish, lifted))
        self._by_wish: dict[ClassId, list[Alike]] = defaultdict(list)
        self._by_kernel: dict[ClassNumber, list[Alike]] = defaultdict(list)
        for alike in self._alike:
            self._by_wish[alike[0]].append(alike)
            self._by_kernel[alike[1]].append(alike)
        self._known: dict[tuple[RuleSetId, RuleSetNumber], tuple[_Otherwise, ...]] = {}

    def all(self, endpoints: Endpoints) -> Iterator[str]:
        known: set[int] = set()
        for pod, numbers in sorted(endpoints.items()):
            for number in numbers:
                known.add(number)
                sides = self._wish.sides.get(pod, Sides())
                yield from self._pod(pod, sides, self._lifted.lanes.get(number, NO_LANES))
        for number in sorted(self._lifted.lanes.keys() - known):
            yield f"endpoint {number} is judged, and no pod of ours is there"

    def _pod(self, pod: PodKey, wish: Sides, has: Lanes) -> Iterator[str]:
        for name, words in _SIDES:
            number: RuleSetId | None = getattr(wish, name)
            kernel: RuleSetNumber = getattr(has, name)
            if number is None and not kernel:
                continue
            if number is None:
                yield f"{words} of {pod} is judged in the kernel, and policy is silent"
            elif not kernel:
                yield f"{words} of {pod} is free in the kernel, and policy judges it"
            else:
                for one in self._compared(number, kernel):
                    yield from _tell(pod, words, one)

    def _compared(self, number: RuleSetId, kernel: RuleSetNumber) -> tuple[_Otherwise, ...]:
        key = number, kernel
        if key not in self._known:
            has = self._lifted.rule_sets.get(kernel, NO_RULES)
            self._known[key] = tuple(self._compare(self._wish.rule_sets[number], has))
        return self._known[key]

    def _compare(self, wish: RuleSet, has: LiftedRules) -> Iterator[_Otherwise]:
        named = {one for class_id in wish.verdicts for one in self._by_wish.get(class_id, ())}
        named |= {one for class_id in has.verdicts for one in self._by_kernel.get(class_id, ())}
        for alike in sorted(named, key=lambda one: self._alike[one]):
            wanted, found = wish.allowed(alike[0]), has.allowed(alike[1])
            if wanted != found:
                yield _Otherwise(who=self._alike[alike], more=found - wanted, less=wanted - found)
        if wish.default != has.default:
            yield _Otherwise(
                who="everybody else",
                more=has.default - wish.default,
                less=wish.default - has.default,
            )


def _alike(wish: Compiled, lifted: Lifted) -> Iterator[tuple[Alike, str]]:
    """Yield the pairs of classes that some addresses have, and who that is, for example."""
    spans = {family: _spans(wish, family) for family in Family}
    for family in Family:
        yield from _alike_nets(family, spans[family], lifted.spans[family])
    for host in sorted(wish.hosts.keys() | lifted.hosts.keys(), key=lambda one: (one.version, one)):
        family = family_of(host)
        wanted: int | None = wish.hosts.get(host)
        found: int | None = lifted.hosts.get(host)
        if wanted is None:
            wanted = _at(spans[family], int(host))
        if found is None:
            found = _at(lifted.spans[family], int(host))
        yield (ClassId(wanted), ClassNumber(found)), str(host)


def _spans(wish: Compiled, family: Family) -> tuple[Span, ...]:
    """Return the nets of the wish as spans; their classes are the compiler's."""
    nets = (net for net in wish.nets if net.family is family)
    return tuple((net.first, net.last, ClassNumber(net.class_id)) for net in nets)


def _alike_nets(
    family: Family, wanted: tuple[Span, ...], found: tuple[Span, ...]
) -> Iterator[tuple[Alike, str]]:
    starts = {0}
    for first, last, _ in (*wanted, *found):
        starts |= {first, last + 1}
    end = 1 << family.max_prefixlen
    ordered = sorted(start for start in starts if start < end)
    for first, after in zip(ordered, (*ordered[1:], end), strict=True):
        who = f"{_address(family, first)}-{_address(family, after - 1)}"
        yield (ClassId(_at(wanted, first)), ClassNumber(_at(found, first))), who


def _at(spans: tuple[Span, ...], number: int) -> int:
    """Return the class that the address with a number has; NOBODY in both numberings is 0."""
    place = bisect_right(spans, number, key=lambda one: one[0]) - 1
    return spans[place][2] if place >= 0 and number <= spans[place][1] else NOBODY


def _address(family: Family, number: int) -> IPAddress:
    return IPv4Address(number) if family is Family.V4 else IPv6Address(number)


def _tell(pod: PodKey, side: str, one: _Otherwise) -> Iterator[str]:
    for ports, turn in (
        (one.more, "allowed by the kernel and denied by policy"),
        (one.less, "denied by the kernel and allowed by policy"),
    ):
        for protocol, first, last in ports:
            yield f"{side} of {pod}: {one.who} {_ports(protocol, first, last)} is {turn}"


def _ports(protocol: Protocol, first: int, last: int) -> str:
    if protocol is Protocol.OTHER:
        return "ICMP and the like"
    if (first, last) == (0, LAST_PORT):
        return f"every {protocol.value} port"
    return f"{protocol.value} {first}" if first == last else f"{protocol.value} {first}-{last}"
