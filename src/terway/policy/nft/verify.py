"""Does a table enforce what was wished? For every address, protocol and port, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from terway.model.address import Family, IPAddress, family_of
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import Compiled, RuleSet, RuleSetId, Sides
from terway.policy.nft.lifted import Lifted, LiftedRuleSet, LiftedSides, Segment, at
from terway.policy.nft.skeleton import Place
from terway.policy.ports import LAST_PORT, PortSet

# Who changes one rule of a thousand pods gets a list as long; nobody reads more of it.
MOST_DIFFERENCES = 1000

# Fields of `Sides` and of `LiftedSides`, and what they are about.
_SIDES = (("ingress", "ingress", "ingress"), ("egress", "egress", "egress"))
_SIDES_AT_NODE = (
    ("own_node", "own_node", "egress to its own node"),
    ("own_node", "itself_egress", "egress to itself by way of a service"),
    ("itself", "itself_ingress", "ingress from itself by way of a service"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where table and wish are not one.

    `pod`, `side`, the addresses and the ports are there where it is about them; else `words` say
    what is wrong with the table.
    """

    words: str
    pod: PodKey | None = None
    side: str = ""
    first: IPAddress | None = None
    last: IPAddress | None = None
    protocol: Protocol | None = None
    first_port: int = 0
    last_port: int = 0

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Otherwise:
    """Addresses that may more, or less, by the table than by the wish."""

    first: IPAddress
    last: IPAddress
    more: PortSet
    less: PortSet


def verify(
    place: Place, wish: Compiled, hooks: Mapping[PodKey, str], lifted: Lifted
) -> tuple[Difference, ...]:
    """Return what is different, at most MOST_DIFFERENCES; nothing if the table is as wished.

    Pods of the wish without an interface in `hooks` are not asked for.
    """
    return tuple(islice(_Comparison(place, wish, hooks, lifted).all(), MOST_DIFFERENCES))


class _Comparison:
    def __init__(
        self, place: Place, wish: Compiled, hooks: Mapping[PodKey, str], lifted: Lifted
    ) -> None:
        self._place = place
        self._wish = wish
        self._hooks = hooks
        self._lifted = lifted
        self._known: dict[tuple[RuleSetId, str], tuple[_Otherwise, ...]] = {}

    def all(self) -> Iterator[Difference]:
        yield from (Difference(words=f"table: {fault}") for fault in self._lifted.faults)
        wanted = {pod: one for pod, one in sorted(self._wish.sides.items()) if pod in self._hooks}
        for pod, sides in wanted.items():
            has = self._lifted.sides.get(self._hooks[pod], LiftedSides())
            yield from self._pod(pod, sides, has)
        interfaces = {self._hooks[pod] for pod in wanted}
        for interface in sorted(self._lifted.sides.keys() - interfaces):
            yield Difference(words=f"interface {interface} is judged, and no pod of ours is there")

    def _pod(self, pod: PodKey, wish: Sides, has: LiftedSides) -> Iterator[Difference]:
        at_node = _SIDES_AT_NODE if self._place is Place.NODE else ()
        for wished, kept, words in (*_SIDES, *at_node):
            number: RuleSetId | None = getattr(wish, wished)
            chain: str | None = getattr(has, kept)
            yield from self._side(pod, words, number, chain)

    def _side(
        self, pod: PodKey, side: str, number: RuleSetId | None, chain: str | None
    ) -> Iterator[Difference]:
        if number is None and chain is None:
            return
        if number is None or chain is None:
            kernel, policy = (
                ("is free", "judges it") if chain is None else ("is judged", "is silent")
            )
            words = f"{side} of {pod} {kernel} in the kernel, and policy {policy}"
            yield Difference(words=words, pod=pod, side=side)
            return
        for one in self._compared(number, chain):
            yield from _tell(pod, side, one)

    def _compared(self, number: RuleSetId, chain: str) -> tuple[_Otherwise, ...]:
        key = number, chain
        if key not in self._known:
            has = self._lifted.rule_sets.get(chain)
            # What is no rule set of ours is told as a fault of the table.
            found = () if has is None else tuple(_compare(self._wish, number, has))
            self._known[key] = found
        return self._known[key]


def _compare(wish: Compiled, number: RuleSetId, has: LiftedRuleSet) -> Iterator[_Otherwise]:
    rule_set = wish.rule_sets[number]
    segments = {family: _segments(wish, rule_set, family) for family in Family}
    wanted = _wanted_hosts(wish, rule_set, has)
    if wanted != has.hosts:
        yield from _compare_hosts(wanted, segments, rule_set, has)
    for family, theirs in segments.items():
        yield from _compare_nets(family, theirs, rule_set, has)


def _wanted_hosts(
    wish: Compiled, rule_set: RuleSet, has: LiftedRuleSet
) -> dict[IPAddress, PortSet]:
    """Return what hosts may that the rule set names, in the objects of `has` where they are equal.

    So most of ten thousand comparisons are of an object with itself.
    """
    known = {ports: ports for ports in {id(one): one for one in has.hosts.values()}.values()}
    verdicts = {one: known.get(ports, ports) for one, ports in rule_set.verdicts.items()}
    return {host: verdicts[one] for host, one in wish.hosts.items() if one in verdicts}


def _compare_hosts(
    hosts: Mapping[IPAddress, PortSet],
    segments: Mapping[Family, tuple[Segment, ...]],
    rule_set: RuleSet,
    has: LiftedRuleSet,
) -> Iterator[_Otherwise]:
    for host in sorted(hosts.keys() | has.hosts.keys(), key=lambda one: (one.version, one)):
        wanted, found = hosts.get(host), has.hosts.get(host)
        if wanted is None:
            wanted = at(segments[family_of(host)], int(host), rule_set.default)
        if found is None:
            found = has.beyond_hosts(host)
        yield from _otherwise(host, host, wanted, found)


def _segments(wish: Compiled, rule_set: RuleSet, family: Family) -> tuple[Segment, ...]:
    return tuple(
        Segment(first=net.first, last=net.last, ports=rule_set.allowed(net.class_id))
        for net in wish.nets
        if net.family is family and net.class_id in rule_set.verdicts
    )


def _compare_nets(
    family: Family, wanted: tuple[Segment, ...], rule_set: RuleSet, has: LiftedRuleSet
) -> Iterator[_Otherwise]:
    found = has.segments.get(family, ())
    starts = {0}
    for one in (*wanted, *found):
        starts |= {one.first, one.last + 1}
    end = 1 << family.max_prefixlen
    ordered = sorted(start for start in starts if start < end)
    for first, after in zip(ordered, (*ordered[1:], end), strict=True):
        yield from _otherwise(
            _address(family, first),
            _address(family, after - 1),
            at(wanted, first, rule_set.default),
            at(found, first, has.default),
        )


def _otherwise(
    first: IPAddress, last: IPAddress, wanted: PortSet, found: PortSet
) -> Iterator[_Otherwise]:
    if wanted != found:
        yield _Otherwise(first=first, last=last, more=found - wanted, less=wanted - found)


def _address(family: Family, number: int) -> IPAddress:
    return IPv4Address(number) if family is Family.V4 else IPv6Address(number)


def _tell(pod: PodKey, side: str, one: _Otherwise) -> Iterator[Difference]:
    who = str(one.first) if one.first == one.last else f"{one.first}-{one.last}"
    for ports, turn in (
        (one.more, "allowed by the kernel and denied by policy"),
        (one.less, "denied by the kernel and allowed by policy"),
    ):
        for protocol, first, last in ports:
            yield Difference(
                words=f"{side} of {pod}: {who} {_ports(protocol, first, last)} is {turn}",
                pod=pod,
                side=side,
                first=one.first,
                last=one.last,
                protocol=protocol,
                first_port=first,
                last_port=last,
            )


def _ports(protocol: Protocol, first: int, last: int) -> str:
    if protocol is Protocol.OTHER:
        return "ICMP and the like"
    if (first, last) == (0, LAST_PORT):
        return f"every {protocol.value} port"
    return f"{protocol.value} {first}" if first == last else f"{protocol.value} {first}-{last}"
