"""Is all reached that must be, and nothing that must not?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from terway.policy.asking.check_ends import blocks_meant
from terway.policy.asking.check_parse import Expectation
from terway.policy.asking.difference import Packet, packet_of
from terway.policy.asking.matrix_groups import Group, Pair, world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.representatives import Holder, holders_of
from terway.policy.cluster import Cluster
from terway.policy.policies import Policy
from terway.policy.ports import PortSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Breach:
    """Two groups that are not as expected on some ports, and a packet that shows it."""

    sources: Group
    destinations: Group
    ports: PortSet
    packet: Packet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of an expectation. `nobody`: which of its ends means nobody, if one does."""

    expectation: Expectation
    breaches: tuple[Breach, ...] = ()
    nobody: str = ""

    @property
    def is_met(self) -> bool:
        """Return whether it is as expected."""
        return not self.breaches and (not self.nobody or self.expectation.may_be_empty)


def check(
    cluster: Cluster, policies: Iterable[Policy], expectations: Sequence[Expectation]
) -> Iterator[Outcome]:
    """Yield what becomes of each expectation, in order.

    A pod and its own node are left out where a node is the source: that is let in, always.
    """
    policies = tuple(policies)
    extra = [
        block
        for one in expectations
        for whom in (one.source, one.destination)
        for block in blocks_meant(whom)
    ]
    holders = holders_of(cluster, policies, extra=extra)
    matrix = PortMatrix(policies)
    for one in expectations:
        yield _outcome(one, holders, matrix)


def _outcome(one: Expectation, holders: Iterable[Holder], matrix: PortMatrix) -> Outcome:
    def role(holder: Holder) -> tuple[bool, bool]:
        return one.source.has(holder), one.destination.has(holder)

    meant = [holder for holder in holders if any(role(holder))]
    world = world_of(meant, (matrix,), tell=role)
    sources = [group for group in world.groups if one.source.has(group.first)]
    destinations = [group for group in world.groups if one.destination.has(group.first)]
    for name, found in (("from", sources), ("to", destinations)):
        if not found:
            return Outcome(expectation=one, nobody=name)
    pairs = (
        pair
        for source in sources
        for destination in destinations
        for pair in world.pairs_of(source, destination)
    )
    return Outcome(expectation=one, breaches=tuple(_breaches(one, pairs, matrix)))


def _breaches(one: Expectation, pairs: Iterable[Pair], matrix: PortMatrix) -> Iterator[Breach]:
    for pair in pairs:
        reached = pair.ports(0, matrix)
        wrong = one.ports - reached if one.must_reach else one.ports & reached
        if wrong:
            yield Breach(
                sources=pair.source,
                destinations=pair.destination,
                ports=wrong,
                packet=packet_of(pair, wrong),
            )
