"""What a table of nftables enforces, read back: the same answers as `Compiled`, by other names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.model.address import Family, IPAddress, family_of
from terway.policy.nft.skeleton import Options
from terway.policy.policies import Direction
from terway.policy.ports import PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The addresses `first` to `last` of a family, both included, and what they may."""

    first: int
    last: int
    ports: PortSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftedRuleSet:
    """What one direction allows: by host, then by segment (ascending, disjoint), then to all."""

    direction: Direction
    default: PortSet
    hosts: Mapping[IPAddress, PortSet]
    segments: Mapping[Family, tuple[Segment, ...]]

    def allowed(self, address: IPAddress) -> PortSet:
        """Return the ports on which an address may be talked to, or may talk."""
        found = self.hosts.get(address)
        return self.beyond_hosts(address) if found is None else found

    def beyond_hosts(self, address: IPAddress) -> PortSet:
        """Return what an address may that is no host of its own."""
        return at(self.segments.get(family_of(address), ()), int(address), self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftedSides:
    """The rule sets, by their chains' names, at one interface.

    `itself_ingress` and `itself_egress` judge what the pod opens to itself by way of a service.
    """

    ingress: str | None = None
    egress: str | None = None
    own_node: str | None = None
    itself_ingress: str | None = None
    itself_egress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """All that a table enforces, by interface; `faults` is what in it is not as ours are."""

    sides: Mapping[str, LiftedSides] = field(default_factory=dict)
    rule_sets: Mapping[str, LiftedRuleSet] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    faults: tuple[str, ...] = ()


def at(segments: tuple[Segment, ...], number: int, default: PortSet) -> PortSet:
    """Return what the address with a number may."""
    place = bisect_right(segments, number, key=lambda one: one.first) - 1
    if place >= 0 and number <= segments[place].last:
        return segments[place].ports
    return default
